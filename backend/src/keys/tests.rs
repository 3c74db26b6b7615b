//! What sealing and signing must refuse.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ring(kids: &[(&str, u8)]) -> KeyRing {
    let masters: Vec<_> = kids
        .iter()
        .map(|(kid, byte)| ((*kid).to_owned(), [*byte; 64]))
        .collect();
    KeyRing::new(
        masters
            .iter()
            .map(|(kid, master)| (kid.clone(), master.as_slice())),
    )
    .unwrap()
}

#[test]
fn a_sealed_text_opens_for_its_purpose_until_it_expires() {
    let ring = ring(&[("2026.a", 1)]);
    let text = ring.seal(Purpose::LoginCode, &"secret", at(100)).unwrap();
    assert!(!text.contains("secret"));
    assert_eq!(
        ring.open::<String>(Purpose::LoginCode, &text, at(99))
            .unwrap(),
        "secret"
    );
    let expired = ring.open::<String>(Purpose::LoginCode, &text, at(100));
    assert!(matches!(expired, Err(Error::Expired)));
    let other = ring.open::<String>(Purpose::LoginCookie, &text, at(99));
    assert!(matches!(other, Err(Error::NotOurs)));
}

#[test]
fn every_altered_byte_of_a_sealed_text_is_noticed() {
    let ring = ring(&[("k", 1)]);
    let text = ring.seal(Purpose::LoginCode, &"x", at(100)).unwrap();
    for index in 0..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(
            ring.open::<String>(Purpose::LoginCode, &altered, at(1))
                .is_err(),
            "{index}"
        );
    }
    for broken in ["", ".", "k.", "k.AAAA", "nothing"] {
        assert!(
            ring.open::<String>(Purpose::LoginCode, broken, at(1))
                .is_err()
        );
    }
}

#[test]
fn the_newest_key_writes_and_older_ones_still_read() {
    let old = ring(&[("2025", 1)]);
    let both = ring(&[("2025", 1), ("2026", 2)]);
    let text = old.seal(Purpose::LoginCode, &1, at(100)).unwrap();
    assert_eq!(
        both.open::<i32>(Purpose::LoginCode, &text, at(1)).unwrap(),
        1
    );
    let text = both.seal(Purpose::LoginCode, &2, at(100)).unwrap();
    assert!(text.starts_with("2026."));
    assert!(old.open::<i32>(Purpose::LoginCode, &text, at(1)).is_err());
}

#[test]
fn short_keys_are_no_keys() {
    assert!(matches!(
        KeyRing::new([("k".to_owned(), [0; 31].as_slice())]),
        Err(Error::NoKey)
    ));
}
