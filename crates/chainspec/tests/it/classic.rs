//! Ethereum Classic's networks, and other files as besu spells them.

use quintet_chainspec::{ChainConfig, ChainSpec, ChainSpecError, Classic, Consensus, DaoFork, Genesis, Head};
use quintet_testkit::vectors::{archive, files};
use std::fs;

fn spec(name: &str) -> Option<ChainSpec> {
    let path = archive("13")?.join(format!("besu-format/{name}.json"));
    Some(ChainSpec::from_json(&fs::read_to_string(path).unwrap()).unwrap())
}

/// Every file is read, and makes a network if it says which.
#[test]
fn all_genesis_files() {
    let Some(folder) = archive("13") else { return };
    let mut read = 0;
    for path in files(&folder, "json").into_iter().chain(files(&folder, "genesis")) {
        let text = fs::read_to_string(&path).unwrap();
        let genesis = Genesis::from_json(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        match ChainSpec::from_json(&text) {
            Ok(spec) => {
                let written = spec.genesis().to_json().unwrap();
                let again = ChainSpec::from_json(&written).unwrap();
                assert_eq!(again.genesis_hash(), spec.genesis_hash(), "{}", path.display());
                assert_eq!(again.config(), spec.config(), "{}", path.display());
                assert_eq!(again.classic(), spec.classic(), "{}", path.display());
            }
            Err(ChainSpecError::NoConfig) => assert!(genesis.config.is_none(), "{}", path.display()),
            Err(error) => panic!("{}: {error}", path.display()),
        }
        read += 1;
    }
    assert!(read >= 13, "{read}");
}

/// A head, and the hash and the next fork of its fork id.
type Id = (u64, u32, u64);

/// The ids that core-geth's nodes announce.
#[test]
fn fork_ids() {
    let networks: [(&str, &[Id]); 3] = [
        (
            "classic",
            &[
                (0, 0xfc64_ec04, 1_150_000),
                (1_150_000, 0x97c2_c34c, 2_500_000),
                (2_500_000, 0xdb06_803f, 3_000_000),
                (3_000_000, 0xaff4_bed4, 5_000_000),
                (5_000_000, 0xf79a_63c0, 5_900_000),
                (5_900_000, 0x7448_99d6, 8_772_000),
                (8_772_000, 0x518b_59c6, 9_573_000),
                (9_573_000, 0x7ba2_2882, 10_500_839),
                (10_500_839, 0x9007_bfcc, 11_700_000),
                (11_700_000, 0xdb63_a1ca, 13_189_133),
                (13_189_133, 0x0f6b_f187, 14_525_000),
                (14_525_000, 0x7fd1_bb25, 19_250_000),
                (19_250_000, 0xbe46_d57c, 0),
            ],
        ),
        (
            "mordor",
            &[
                (0, 0x1757_82aa, 301_243),
                (301_243, 0x604f_6ee1, 999_983),
                (999_983, 0xf42f_5539, 2_520_000),
                (2_520_000, 0x66b5_c286, 3_985_893),
                (3_985_893, 0x92b3_23e0, 5_520_000),
                (5_520_000, 0x8c9b_1797, 9_957_000),
                (9_957_000, 0x3a6b_00d7, 0),
            ],
        ),
        (
            "kotti",
            &[
                (0, 0x0550_152e, 716_617),
                (716_617, 0xa327_0822, 1_705_549),
                (1_705_549, 0x8f36_98e0, 2_200_013),
            ],
        ),
    ];
    for (network, ids) in networks {
        let Some(spec) = spec(network) else { return };
        for (number, hash, next) in ids {
            let id = spec.fork_id(Head { number: *number, timestamp: 0 });
            assert_eq!((u32::from_be_bytes(id.hash.0), id.next), (*hash, *next), "{network} {number}");
        }
    }
}

#[test]
fn classics_schedule() {
    let Some(spec) = spec("classic") else { return };
    let expected = Classic {
        pause_block: Some(3_000_000),
        pause_length: Some(2_000_000),
        era_block: Some(5_000_000),
        era_rounds: None,
        disposal_block: Some(5_900_000),
        etchash_block: Some(11_700_000),
        fork_block: Some(1_920_000),
        mystique_block: Some(14_525_000),
        spiral_block: Some(19_250_000),
    };
    assert_eq!((spec.classic(), spec.classic().era_length()), (&expected, 5_000_000));
    assert_eq!(spec.dao_fork(), Some(DaoFork { block: 1_920_000, support: false }));
    let expected = ChainConfig {
        chain_id: 61,
        homestead_block: Some(1_150_000),
        eip150_block: Some(2_500_000),
        eip155_block: Some(3_000_000),
        eip158_block: Some(8_772_000),
        byzantium_block: Some(8_772_000),
        constantinople_block: Some(9_573_000),
        petersburg_block: Some(9_573_000),
        istanbul_block: Some(10_500_839),
        berlin_block: Some(13_189_133),
        ethash: spec.config().ethash,
        extra_fields: spec.config().extra_fields.clone(),
        ..ChainConfig::default()
    };
    assert_eq!(spec.config(), &expected);
    assert!(!spec.is_london_active(20_000_000));
}

#[test]
fn mordors_schedule() {
    let Some(spec) = spec("mordor") else { return };
    let classic = spec.classic();
    assert_eq!((classic.era_block, classic.era_length()), (Some(0), 2_000_000));
    assert_eq!((classic.disposal_block, classic.etchash_block), (Some(0), Some(2_520_000)));
    assert_eq!((classic.pause_block, spec.dao_fork()), (None, None));
    assert_eq!(spec.config().byzantium_block, Some(0));
}

/// Forks that besu's files leave out come with the next one that they name.
#[test]
fn ethereums_networks_as_besu_spells_them() {
    for network in ["goerli", "rinkeby", "ropsten"] {
        let Some(besu) = spec(network) else { return };
        let geth = ChainSpec::preset(network).unwrap();
        assert_eq!(besu.genesis_hash(), geth.genesis_hash());
        assert_eq!(besu.consensus(), geth.consensus());
        for number in [0, 1, 2, 3, 10, 2_000_000, 6_000_000, 8_000_000, 12_000_000] {
            assert_eq!(besu.fork_at(number, 0, false), geth.fork_at(number, 0, false), "{network} {number}");
            let head = Head { number, timestamp: 0 };
            assert_eq!(besu.fork_id(head), geth.fork_id(head), "{network} {number}");
        }
    }
    let Some(kotti) = spec("kotti") else { return };
    assert_eq!(kotti.consensus(), Consensus::Clique { period: 15, epoch: 30_000 });
}

/// A chain that went by one monetary policy does not go on by another.
#[test]
fn a_stored_chain_keeps_its_options() {
    let Some(spec) = spec("classic") else { return };
    let with = |field: &str, value: u64| {
        let mut config = spec.config().clone();
        config.extra_fields.insert(field.to_owned(), value.into());
        config
    };
    let check = |stored: &ChainConfig, head| {
        let outcome = spec.check_database(spec.genesis_hash(), stored, head, 0);
        outcome.map_err(|error| error.to_string())
    };
    assert_eq!(check(spec.config(), 20_000_000), Ok(()));
    let later = with("ecip1099FBlock", 12_000_000);
    assert_eq!(check(&later, 11_699_999), Ok(()));
    assert_eq!(
        check(&later, 11_700_000).unwrap_err(),
        "mismatching ECIP1099 fork block in database (have block 12000000, want block 11700000, rewindto block \
         11699999)"
    );
    let shorter = with("ecip1010Length", 1);
    assert!(check(&shorter, 3_000_001).unwrap_err().contains("ECIP1010 continue block"));
    let eras = with("ecip1017EraRounds", 7);
    assert_eq!(check(&eras, 4_999_999), Ok(()));
    assert!(check(&eras, 5_000_000).unwrap_err().contains("ECIP1017 era rounds"));
}
