//! Live processes in real time: scenarios in, what `leaktrace trace` says out.
