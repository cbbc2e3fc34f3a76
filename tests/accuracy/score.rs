//! Outcomes in, tables out.
