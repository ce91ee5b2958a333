//! The engine against vectors, scripted peers, liars, and a network of its own kind. No socket, and no clock.

mod bonding;
mod hostile;
mod network;
mod peer;
mod simulation;
mod vectors;
