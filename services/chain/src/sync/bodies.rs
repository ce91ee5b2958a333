//! Bodies: what headers vouch for them by.

use super::network::Fault;
use super::parts::{Part, PartQueue};
use crate::bulk::weight;
use alloy_consensus::proofs::{
    calculate_ommers_root, calculate_transaction_root, calculate_withdrawals_root,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH};
use alloy_primitives::B256;
use quintet_types::{Body, Header};

/// The bodies of the headers on their way in.
pub(crate) type BodyQueue = PartQueue<Body>;

/// What of a body a header vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyRoots {
    pub(super) transactions: B256,
    pub(super) uncles: B256,
    withdrawals: Option<B256>,
}

impl BodyRoots {
    /// A body's.
    pub(crate) fn of(body: &Body) -> Self {
        Self {
            transactions: calculate_transaction_root(&body.transactions),
            uncles: calculate_ommers_root(&body.ommers),
            withdrawals: body.withdrawals.as_ref().map(|withdrawals| calculate_withdrawals_root(withdrawals)),
        }
    }

    /// Those that a header has.
    pub(crate) const fn in_header(header: &Header) -> Self {
        Self {
            transactions: header.transactions_root,
            uncles: header.ommers_hash,
            withdrawals: header.withdrawals_root,
        }
    }
}

/// The body that a header tells to be empty: nobody has to be asked for it.
pub(crate) fn empty_body(header: &Header) -> Option<Body> {
    let empty = header.transactions_root == EMPTY_ROOT_HASH
        && header.ommers_hash == EMPTY_OMMER_ROOT_HASH
        && header.withdrawals_root.is_none_or(|root| root == EMPTY_ROOT_HASH);
    let withdrawals = header.withdrawals_root.map(|_| Vec::new().into());
    empty.then(|| Body { withdrawals, ..Body::default() })
}

impl Part for Body {
    type Roots = BodyRoots;
    const FOREIGN: Fault = Fault::WrongBodies;

    fn roots_in(header: &Header) -> BodyRoots {
        BodyRoots::in_header(header)
    }

    fn roots(&self) -> BodyRoots {
        BodyRoots::of(self)
    }

    fn empty(header: &Header) -> Option<Self> {
        empty_body(header)
    }

    fn weight(&self) -> usize {
        weight::of_body(self)
    }
}
