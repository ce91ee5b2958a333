//! gRPC as every service speaks it: the transport under the clients, the server with health and reflection,
//! and the one mapping between errors and statuses.

mod inflight;
mod server;
mod status;
mod trace;
mod transport;

pub use server::{GrpcConfig, GrpcServer};
pub use status::{Classify, ErrorKind, RpcError, internal, to_status, unimplemented};
pub use trace::{SERVICE_FIELD, TraceLayer, Traced};
pub use transport::{Transport, TransportError};
