//! Proof of authority (clique, EIP-225).
