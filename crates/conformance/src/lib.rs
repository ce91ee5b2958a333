//! Runs the conformance vectors of others against the node's own code, and says what came of each case.
//!
//! Every file of an archive is read, or it is a failure; every case passes, fails, or is skipped for a reason
//! that the table gives. [`run`] does the work, [`Shown`] prints the table.

mod call;
mod node;
mod poststate;
mod refusal;
mod report;
mod runner;
mod suites;
mod table;

pub use report::{Counts, Failure, Outcome, Refusal, Report};
pub use runner::{Options, Sample, run};
pub use table::Shown;
