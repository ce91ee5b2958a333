//! The codecs against what others wrote, against themselves, and against those who mean harm.

mod bounds;
mod chains;
mod forkid;
mod roundtrip;
mod samples;
mod strict;
mod vectors;
