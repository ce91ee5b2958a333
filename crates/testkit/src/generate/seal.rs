//! What the consensus engine says of a generated block's header, before its transactions and after them.

use super::random::Random;
use super::setup::Setup;
use alloy_primitives::{Address, B256, Bytes};
use quintet_chainspec::Consensus;
use quintet_clique::{Clique, Snapshot};
use quintet_evm::BlockAttributes;
use quintet_types::Header;
use std::sync::Arc;

/// Extra data of the DAO fork's first blocks (EIP-779), and how many of them there are.
const DAO_EXTRA: &[u8] = b"dao-hard-fork";
const DAO_BLOCKS: u64 = 10;
/// Of a hundred blocks of clique, how many carry a vote.
const VOTES: u64 = 10;

/// The engine, with what it has to know of the block that is gone on from.
#[derive(Clone, Debug)]
pub(crate) enum Seal {
    Work,
    Authority { clique: Arc<Clique>, snapshot: Arc<Snapshot> },
    Stake,
}

/// Who seals a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealer(usize);

impl Seal {
    /// The engine at genesis.
    pub(crate) fn new(setup: &Setup) -> Self {
        match setup.spec.consensus() {
            Consensus::Ethash => Self::Work,
            Consensus::Clique { period, epoch } => {
                let genesis =
                    Snapshot::genesis(setup.spec.genesis_header()).expect("genesis lists its signers");
                Self::Authority { clique: Arc::new(Clique::new(period, epoch)), snapshot: Arc::new(genesis) }
            }
            Consensus::Beacon | Consensus::Dev { .. } => Self::Stake,
        }
    }

    /// Fills in what the header says before there are transactions. `merged`: the block comes after the merge.
    pub(crate) fn prepare(
        &self,
        setup: &Setup,
        random: &mut Random,
        parent: &Header,
        merged: bool,
        attributes: &mut BlockAttributes,
    ) -> Sealer {
        let unique = random.word();
        match self {
            Self::Authority { clique, snapshot } if !merged => {
                prepare_clique(setup, random, (clique, snapshot), parent, unique, attributes)
            }
            Self::Work if !merged => {
                attributes.coinbase = miner(setup, random);
                attributes.difficulty =
                    quintet_ethash::next_difficulty(&setup.spec, attributes.timestamp, parent);
                attributes.extra_data = work_extra(setup, parent.number + 1, unique);
                attributes.fee_recipient = attributes.coinbase;
                Sealer(0)
            }
            _ => {
                attributes.coinbase = miner(setup, random);
                attributes.mix_hash = unique;
                attributes.parent_beacon_block_root = Some(random.word());
                attributes.fee_recipient = attributes.coinbase;
                Sealer(0)
            }
        }
    }

    /// Puts the seal into the header, which is whole otherwise, and goes on to the block.
    pub(crate) fn seal(&mut self, setup: &Setup, sealer: Sealer, header: &mut Header) {
        let Self::Authority { clique, snapshot } = self else { return };
        if header.difficulty.is_zero() {
            return;
        }
        let sign = |hash: B256| {
            let signature = setup.signers[sealer.0].sign(hash);
            let mut seal = [0; 65];
            seal[..64].copy_from_slice(&signature.as_bytes()[..64]);
            seal[64] = u8::from(signature.v());
            seal
        };
        clique.seal(header, sign).expect("there is room for a seal");
        let next = clique.apply(snapshot, std::slice::from_ref(header)).expect("the seal is valid");
        *snapshot = Arc::new(next);
    }
}

/// One of a few: miners come back.
fn miner(setup: &Setup, random: &mut Random) -> Address {
    if random.chance(50) { Address::repeat_byte(0xab) } else { setup.account(random.index(4)) }
}

fn work_extra(setup: &Setup, number: u64, unique: B256) -> Bytes {
    let dao = setup.spec.dao_fork().filter(|fork| fork.support);
    if dao.is_some_and(|fork| (fork.block..fork.block + DAO_BLOCKS).contains(&number)) {
        return Bytes::from_static(DAO_EXTRA);
    }
    Bytes::copy_from_slice(&unique[..16])
}

fn prepare_clique(
    setup: &Setup,
    random: &mut Random,
    (clique, snapshot): (&Clique, &Snapshot),
    parent: &Header,
    vanity: B256,
    attributes: &mut BlockAttributes,
) -> Sealer {
    let number = parent.number + 1;
    let may_sign = |index: &usize| snapshot.check_signer(number, &setup.signers[*index].address).is_ok();
    let able: Vec<_> = (0..setup.signers.len()).filter(may_sign).collect();
    let in_turn = able.iter().find(|index| snapshot.is_in_turn(number, &setup.signers[**index].address));
    let out_of_turn = able[random.index(able.len())];
    let signer = in_turn.copied().filter(|_| random.chance(70)).unwrap_or(out_of_turn);
    let candidate = setup.signers[random.index(setup.signers.len())].address;
    let authorize = !snapshot.signers.contains(&candidate);
    let vote = random.chance(VOTES) && (authorize || snapshot.signers.len() > 2);
    let proposals = vote.then_some((candidate, authorize)).into_iter().collect();
    let address = setup.signers[signer].address;
    let mut header = Header {
        parent_hash: snapshot.hash,
        number,
        timestamp: attributes.timestamp,
        extra_data: vanity.into(),
        ..Header::default()
    };
    clique
        .prepare(&mut header, (parent, snapshot), &address, &proposals, 0)
        .expect("the snapshot is the parent's");
    attributes.timestamp = header.timestamp;
    attributes.coinbase = header.beneficiary;
    attributes.nonce = header.nonce;
    attributes.mix_hash = header.mix_hash;
    attributes.difficulty = header.difficulty;
    attributes.extra_data = header.extra_data;
    attributes.fee_recipient = address;
    Sealer(signer)
}
