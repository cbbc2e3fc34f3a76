//! Simulated readings in fast time: schedules in, verdicts out.
