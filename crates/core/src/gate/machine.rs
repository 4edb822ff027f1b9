//! The gate's own state machine, pure: shared by the real proxy and the simulated one.
