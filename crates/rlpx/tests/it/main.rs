//! Sessions from the first packet to the last frame, against vectors that others wrote, and against bytes that
//! nobody should send.

mod framing;
mod fuzzing;
mod hostile;
mod properties;
mod session;
mod support;
