//! The pool's rules, seen from outside.

mod admission;
mod best;
mod blobs;
mod heads;
mod helpers;
mod journal;
mod limits;
mod model;
mod speed;
