//! Decides what a fleet does next; the only place that does.
