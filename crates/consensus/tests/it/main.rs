//! The engines against chains that others made, whole and with one field broken at a time.

mod chain;
mod rules;
mod whole;
