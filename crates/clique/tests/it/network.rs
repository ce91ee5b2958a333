//! Networks of signers whose keys the tests hold.

use alloy_primitives::{Address, B256, Bytes, keccak256};
use k256::ecdsa::SigningKey;
use parking_lot::Mutex;
use quintet_clique::{Clique, CliqueError, EXTRA_SEAL, EXTRA_VANITY, Proposals, Snapshot, SnapshotStore};
use quintet_types::{Ancestry, BlockRef, Header, StateError};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An account that signs.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    key: SigningKey,
    pub(crate) address: Address,
}

impl Signer {
    /// The account of a name.
    pub(crate) fn named(name: &str) -> Self {
        let key = SigningKey::from_slice(keccak256(name).as_slice()).unwrap();
        let address = Address::from_public_key(key.verifying_key());
        Self { key, address }
    }

    /// `count` accounts, in the order of their addresses.
    pub(crate) fn many(count: usize) -> Vec<Self> {
        let mut signers: Vec<Self> =
            (0..count).map(|index| Self::named(&format!("signer {index}"))).collect();
        signers.sort_by_key(|signer| signer.address);
        signers
    }

    pub(crate) fn sign(&self, hash: B256) -> [u8; EXTRA_SEAL] {
        let (signature, id) = self.key.sign_prehash_recoverable(hash.as_slice()).unwrap();
        let mut seal = [0; EXTRA_SEAL];
        seal[..64].copy_from_slice(&signature.to_bytes());
        seal[64] = id.to_byte();
        seal
    }
}

/// Headers by hash, and how often one was read.
#[derive(Default)]
pub(crate) struct Headers {
    pub(crate) headers: HashMap<B256, Header>,
    reads: AtomicUsize,
}

impl Headers {
    pub(crate) fn add(&mut self, header: &Header) -> BlockRef {
        let block = reference(header);
        self.headers.insert(block.hash, header.clone());
        block
    }

    /// How many headers were read since this was asked last.
    pub(crate) fn take_reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

impl Ancestry for Headers {
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.headers.get(hash).cloned())
    }
    fn uncles(&self, _: &B256) -> Result<Option<Vec<Header>>, StateError> {
        Ok(None)
    }
}

/// Stored snapshots.
#[derive(Default)]
pub(crate) struct Stored(pub(crate) Mutex<HashMap<B256, Bytes>>);

impl SnapshotStore for Stored {
    fn load(&self, hash: &B256) -> Option<Bytes> {
        self.0.lock().get(hash).cloned()
    }
    fn save(&self, hash: &B256, snapshot: Bytes) {
        self.0.lock().insert(*hash, snapshot);
    }
}

pub(crate) fn reference(header: &Header) -> BlockRef {
    BlockRef { number: header.number, hash: header.hash_slow() }
}

/// A genesis header that lists these signers, in this order.
pub(crate) fn genesis(signers: impl IntoIterator<Item = Address>) -> Header {
    let mut extra = vec![0; EXTRA_VANITY];
    extra.extend(signers.into_iter().flatten());
    extra.extend([0; EXTRA_SEAL]);
    Header { extra_data: extra.into(), timestamp: 1000, ..Header::default() }
}

/// A chain in the making, whose blocks are checked as they are added.
pub(crate) struct Network {
    pub(crate) clique: Clique,
    pub(crate) headers: Headers,
    pub(crate) stored: Stored,
    pub(crate) tip: Header,
}

impl Network {
    pub(crate) fn new(period: u64, epoch: u64, signers: impl IntoIterator<Item = Address>) -> Self {
        let tip = genesis(signers);
        let mut headers = Headers::default();
        headers.add(&tip);
        Self { clique: Clique::new(period, epoch), headers, stored: Stored::default(), tip }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.clique.snapshot_at(&self.headers, &self.stored, reference(&self.tip)).unwrap()
    }

    /// The next block as `signer` would prepare it.
    pub(crate) fn prepared(&self, signer: &Signer, proposals: &Proposals) -> Header {
        let parent = (&self.tip, &*self.snapshot());
        let number = self.tip.number + 1;
        let mut header = Header { number, parent_hash: self.tip.hash_slow(), ..Header::default() };
        self.clique.prepare(&mut header, parent, &signer.address, proposals, 0).unwrap();
        header
    }

    pub(crate) fn sealed(&self, mut header: Header, signer: &Signer) -> Header {
        self.clique.seal(&mut header, |hash| signer.sign(hash)).unwrap();
        header
    }

    /// The rules for a header on top of the chain, in the order in which geth checks them.
    pub(crate) fn check(&self, header: &Header) -> Result<Address, CliqueError> {
        self.clique.check_header(header, &self.tip)?;
        self.clique.check_seal(header, &self.snapshot())
    }

    pub(crate) fn add(&mut self, header: Header) -> Result<(), CliqueError> {
        self.check(&header)?;
        self.headers.add(&header);
        self.tip = header;
        Ok(())
    }

    /// Adds a block without a vote.
    pub(crate) fn extend(&mut self, signer: &Signer) {
        let header = self.sealed(self.prepared(signer, &Proposals::new()), signer);
        self.add(header).unwrap();
    }
}
