//! What the fuzz targets do with their bytes, one function per decoder of what strangers send.
//!
//! Each must return, whatever the bytes are. Beside that it holds the decoder to what it decoded: where the encoding
//! is canonical, encoding gives the same bytes again, and elsewhere the same value after another round.

pub mod discovery;
pub mod messages;
pub mod range;
pub mod seeds;
pub mod session;
