//! Walks over lists that are made here, some of them with malice.

use super::super::encoding::{base32, base64};
use super::super::tree::name_of;
use super::{MOST_LISTS, Next, ROOT_INTERVAL, TreeError, Walk};
use alloy_primitives::keccak256;
use quintet_enode::{NodeKey, RecordBuilder};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What DNS says, by name.
#[derive(Default)]
struct Zone {
    texts: BTreeMap<String, String>,
    asked: Vec<String>,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_byte_array([seed; 32]).expect("a key")
}

fn url(seed: u8, domain: &str) -> String {
    let public = PublicKey::from_secret_key(SECP256K1, &key(seed));
    format!("enrtree://{}@{domain}", base32(&public.serialize()))
}

impl Zone {
    fn put(&mut self, domain: &str, text: String) -> String {
        let name = name_of(&text);
        self.texts.insert(format!("{name}.{domain}"), text);
        name
    }

    /// A list with nodes, three to a branch, and links.
    fn publish(&mut self, seed: u8, domain: &str, sequence: u64, nodes: u64, links: &[String]) {
        let names: Vec<_> = (0..nodes)
            .map(|index| {
                let key = NodeKey::generate();
                let record = RecordBuilder::new(index).udp(30_303).sign(&key).expect("a record");
                self.put(domain, record.to_string())
            })
            .collect();
        let branches: Vec<_> = names
            .chunks(3)
            .map(|names| self.put(domain, format!("enrtree-branch:{}", names.join(","))))
            .collect();
        let records = self.put(domain, format!("enrtree-branch:{}", branches.join(",")));
        let links: Vec<_> = links.iter().map(|link| self.put(domain, link.clone())).collect();
        let links = self.put(domain, format!("enrtree-branch:{}", links.join(",")));
        self.sign(seed, domain, sequence, &records, &links);
    }

    fn sign(&mut self, seed: u8, domain: &str, sequence: u64, records: &str, links: &str) {
        let text = format!("enrtree-root:v1 e={records} l={links} seq={sequence}");
        let digest = Message::from_digest(keccak256(&text).0);
        let mut signature = SECP256K1.sign_ecdsa(digest, &key(seed)).serialize_compact().to_vec();
        signature.push(0);
        self.texts.insert(domain.to_owned(), format!("{text} sig={}", base64(&signature)));
    }

    /// Walks until there is nothing to do; gives the nodes and what was wrong.
    fn walk(&mut self, walk: &mut Walk, now: Instant) -> (Vec<u64>, Vec<TreeError>) {
        let (mut nodes, mut errors) = (Vec::new(), Vec::new());
        for step in 0..10_000_usize {
            let Next::Ask(query) = walk.next(now, step.wrapping_mul(7919)) else { return (nodes, errors) };
            self.asked.push(query.domain.clone());
            let texts = self.texts.get(&query.domain).map(|text| vec![text.clone()]);
            match walk.answer(&query, texts.ok_or_else(|| TreeError::Dns("no such name".to_owned())), now) {
                Ok(found) => nodes.extend(found.map(|record| record.seq())),
                Err(error) => errors.push(error),
            }
        }
        panic!("it never ends");
    }
}

fn start(links: &[String]) -> (Walk, Instant) {
    let now = Instant::now();
    (Walk::new(links.iter().map(|link| link.parse().expect("a link")).collect(), now), now)
}

#[test]
fn a_list_is_walked_once_in_random_order_and_again_when_it_changes() {
    let mut zone = Zone::default();
    zone.publish(1, "nodes.example", 1, 20, &[]);
    let (mut walk, now) = start(&[url(1, "nodes.example"), url(1, "nodes.example")]);
    let (mut nodes, errors) = zone.walk(&mut walk, now);
    assert_eq!(errors, []);
    assert!(!nodes.is_sorted(), "{nodes:?}");
    nodes.sort_unstable();
    assert_eq!(nodes, (0..20).collect::<Vec<_>>());
    let asked = zone.asked.len();
    assert_eq!(walk.next(now, 0), Next::Wait(now + ROOT_INTERVAL));

    // The same root: one question.
    let later = now + ROOT_INTERVAL;
    assert_eq!(zone.walk(&mut walk, later), (Vec::new(), Vec::new()));
    assert_eq!(zone.asked.len(), asked + 1);
    // A new one.
    zone.publish(1, "nodes.example", 2, 4, &[]);
    assert_eq!(zone.walk(&mut walk, later + ROOT_INTERVAL).0.len(), 4);
    // An old one again, which somebody kept.
    zone.publish(1, "nodes.example", 1, 9, &[]);
    let (nodes, errors) = zone.walk(&mut walk, later + 2 * ROOT_INTERVAL);
    assert_eq!((nodes.len(), errors), (0, vec![TreeError::Older { found: 1, held: 2 }]));
}

#[test]
fn links_are_followed_before_nodes() {
    let mut zone = Zone::default();
    zone.publish(1, "a.example", 1, 3, &[url(2, "b.example")]);
    zone.publish(2, "b.example", 1, 5, &[url(1, "a.example")]);
    let (mut walk, now) = start(&[url(1, "a.example")]);
    let (nodes, errors) = zone.walk(&mut walk, now);
    assert_eq!((nodes.len(), errors.len()), (8, 0));
    let first_node = zone.asked.iter().position(|name| zone.texts[name].starts_with("enr:")).expect("a node");
    let other_list = zone.asked.iter().position(|name| name == "b.example").expect("the other list");
    assert!(other_list < first_node, "{:?}", zone.asked);
}

#[test]
fn what_fails_is_tried_again_and_then_left() {
    let mut zone = Zone::default();
    zone.publish(1, "nodes.example", 1, 6, &[]);
    let lost = zone.texts.iter().find(|(_, text)| text.starts_with("enr:")).map(|(name, _)| name.clone());
    let lost = lost.expect("a node");
    zone.texts.remove(&lost);
    let (mut walk, now) = start(&[url(1, "nodes.example")]);
    let (nodes, errors) = zone.walk(&mut walk, now);
    assert_eq!((nodes.len(), errors.len()), (5, 3));
    assert_eq!(zone.asked.iter().filter(|name| **name == lost).count(), 3);

    // A list that is not there: asked for less and less often.
    let (mut walk, mut now) = start(&[url(1, "nowhere.example")]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(zone.walk(&mut walk, now).1.len(), 1);
        let Next::Wait(until) = walk.next(now, 0) else { panic!("nothing to do") };
        waits.push((until - now).as_secs() / 60);
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn rings_and_wrong_places_end() {
    let mut zone = Zone::default();
    let node = zone
        .put("ring.example", RecordBuilder::new(1).sign(&NodeKey::generate()).expect("signed").to_string());
    let link = zone.put("ring.example", url(9, "elsewhere.example"));
    // Links among nodes and nodes among links; a branch that names one entry twice.
    let records = zone.put("ring.example", format!("enrtree-branch:{link},{node},{node}"));
    let links = zone.put("ring.example", format!("enrtree-branch:{node}"));
    zone.sign(3, "ring.example", 1, &records, &links);
    let (mut walk, now) = start(&[url(3, "ring.example")]);
    let (_, errors) = zone.walk(&mut walk, now);
    assert!(errors.contains(&TreeError::LinkAmongRecords) && errors.contains(&TreeError::RecordAmongLinks));
    assert!(!zone.asked.contains(&"elsewhere.example".to_owned()));

    // Lists that link to ever more lists.
    let mut zone = Zone::default();
    for index in 0..=MOST_LISTS {
        let links = [url(3, &format!("{}.chain", index + 1)), url(3, &format!("{}.other", index + 1))];
        zone.publish(3, &format!("{index}.chain"), 1, 0, &links);
    }
    let (mut walk, now) = start(&[url(3, "0.chain")]);
    zone.walk(&mut walk, now);
    assert_eq!(walk.lists.len(), MOST_LISTS);
    assert_eq!(walk.next(now + Duration::from_secs(1), 0), Next::Wait(now + Duration::from_mins(1)));
}

#[test]
fn no_lists_are_nothing_to_do() {
    let (mut walk, now) = start(&[]);
    assert_eq!(walk.next(now, 0), Next::Nothing);
}
