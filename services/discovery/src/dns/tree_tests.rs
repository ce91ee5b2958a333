//! The example of EIP-1459, and what is wrong with changed ones.

use super::super::encoding::base64;
use super::{Entry, Link, Root, TreeError, name_of};
use secp256k1::{PublicKey, SECP256K1, SecretKey};

/// The key that signed the root, as the EIP gives it in hexadecimal; the URL beside it there has another one.
const KEY: &str = "AKPYQIUQIL7PSIACI32J7FGZW56E5FKHEFCCOFHILBIMW3M6LWXS2";
const KEY_HEX: &str = "029f88229042fef9200246f49f94d9b77c4e954721442714e85850cb6d9e5daf2d";
const ROOT: &str = "enrtree-root:v1 e=JWXYDBPXYWG6FX3GMDIBFA6CJ4 l=C7HRFPF3BLGF3YR4DY5KX3SMBE seq=1 \
    sig=o908WmNp7LibOfPsr4btQwatZJ5URBr2ZAuxvK4UWHlsB9sUOTJQaGAlLPVAhM__XJesCHxLISo94z5Z2a463gA";
const LINK: &str = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@morenodes.example.org";
const BRANCH: &str =
    "enrtree-branch:2XS2367YHAXJFGLZHVAWLQD4ZY,H4FHT4B454P6UXFD7JCYQ5PWDY,MHTDO6TMUBRIA2XWG5LUDACK24";
const RECORD: &str = "enr:-HW4QOFzoVLaFJnNhbgMoDXPnOvcdVuj7pDpqRvh6BRDO68aVi5ZcjB3vzQRZH2IcLBGHzo8uUN3snqmgTiE56CH3AMBgmlkgnY0iXNlY3AyNTZrMaECC2_24YYkYHEgdzxlSNKQEnHhuNAbNlMlWJxrJxbAFvA";

fn link() -> Link {
    format!("enrtree://{KEY}@nodes.example.org").parse().expect("a link")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn root(text: &str) -> Result<Root, TreeError> {
    Root::find(&texts(&[text]), &link())
}

#[test]
fn the_eips_example_is_read() {
    let read = Root::find(&texts(&["v=spf1 -all", ROOT]), &link()).expect("a root");
    assert_eq!(read.records, "JWXYDBPXYWG6FX3GMDIBFA6CJ4");
    assert_eq!(read.links, "C7HRFPF3BLGF3YR4DY5KX3SMBE");
    assert_eq!(read.sequence, 1);
    assert_eq!(link().to_string(), format!("enrtree://{KEY}@nodes.example.org"));
    assert_eq!(alloy_primitives::hex::encode(link().key.serialize()), KEY_HEX);

    let entry = |text: &str| Entry::find(&texts(&[text]), &name_of(text)).expect("an entry");
    assert_eq!(name_of(LINK), read.links);
    assert!(matches!(entry(LINK), Entry::Link(link) if link.domain == "morenodes.example.org"));
    assert_eq!(name_of(BRANCH), read.records);
    let Entry::Branch(names) = entry(BRANCH) else { panic!("a branch") };
    assert_eq!(names.len(), 3);
    assert_eq!(name_of(RECORD), names[0]);
    assert!(matches!(entry(RECORD), Entry::Record(record) if record.to_string() == RECORD));
}

#[test]
fn wrong_roots_are_refused() {
    assert_eq!(Root::find(&texts(&[BRANCH]), &link()), Err(TreeError::NoRoot));
    assert_eq!(root(&ROOT.replace("seq=1", "seq=2")), Err(TreeError::WrongSignature));
    assert_eq!(root(&ROOT.replace("seq=1", "seq=x")), Err(TreeError::Syntax));
    assert_eq!(root(&ROOT.replace("v1 ", "v12 ")), Err(TreeError::Syntax));
    assert_eq!(root(&ROOT.replace("seq=1", "seq=1 more")), Err(TreeError::Syntax));
    assert_eq!(root(&ROOT.replace(" sig=", " signature=")), Err(TreeError::Syntax));
    assert_eq!(root(&ROOT.replace("e=JW", "e=1W")), Err(TreeError::BadChild));
    assert_eq!(root(&ROOT[..ROOT.len() - 1]), Err(TreeError::BadSignature));
    let zeros = base64(&[0; 65]);
    let signed = ROOT.split(" sig=").next().expect("a text");
    assert_eq!(root(&format!("{signed} sig={zeros}")), Err(TreeError::WrongSignature));
    let other = SecretKey::from_byte_array([7; 32]).expect("a key");
    let stranger =
        Link { domain: "nodes.example.org".to_owned(), key: PublicKey::from_secret_key(SECP256K1, &other) };
    assert_eq!(Root::find(&texts(&[ROOT]), &stranger), Err(TreeError::WrongSignature));
}

#[test]
fn wrong_entries_are_refused() {
    let find = |text: &str| Entry::find(&texts(&[text]), &name_of(text));
    assert_eq!(find("enrtree-branch:AAA"), Err(TreeError::BadChild));
    assert_eq!(find("enr:nonsense"), Err(TreeError::BadRecord));
    assert_eq!(find("v=spf1 -all"), Err(TreeError::NoEntry));
    assert_eq!(find("enrtree://nodes.example.org"), Err(TreeError::NoKey));
    assert_eq!(find("enrtree://AAAA@nodes.example.org"), Err(TreeError::BadKey));
    assert_eq!(find("enrtree-branch:"), Ok(Entry::Branch(Vec::new())));
    assert_eq!(Entry::find(&texts(&[RECORD]), &name_of(BRANCH)), Err(TreeError::Mismatch));
    assert_eq!(Entry::find(&texts(&[]), &name_of(BRANCH)), Err(TreeError::NoEntry));
    // Short abbreviations would be easy to meet by chance.
    assert_eq!(Entry::find(&texts(&[RECORD]), &name_of(RECORD)[..8]), Err(TreeError::Mismatch));
    assert_eq!("enr:x".parse::<Link>(), Err(TreeError::Scheme));
}
