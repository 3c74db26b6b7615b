//! Tests of the parent module.

use super::*;

const ORIGINALS: &str = r#"{
  "apiVersion": "v1",
  "kind": "Config",
  "servers": {
    "kcp1@https://provider.example": {
      "url": "https://provider.example",
      "cluster": "kcp1",
      "accessToken": "old",
      "tokenType": "Bearer",
      "expiresAt": "0001-01-01T00:00:00Z",
      "username": "somebody"
    }
  },
  "current": "kcp1@https://provider.example",
  "later": true
}"#;

fn server(text: &str) -> Server {
    Server::parse(text, None).unwrap()
}

#[test]
fn the_originals_file_is_read_and_its_other_fields_survive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    fs::write(&path, ORIGINALS).unwrap();
    let mut store = Store::load(&path).unwrap();
    assert_eq!(
        store.current().unwrap(),
        server("https://provider.example@kcp1")
    );
    assert_eq!(
        store
            .find(&server("https://provider.example@kcp1"))
            .unwrap()
            .expiry(),
        None
    );
    let entry = Entry::new(
        &server("https://b.example"),
        "t".into(),
        "Bearer".into(),
        Timestamp::from_second(60).unwrap(),
    );
    store.put(&server("https://b.example"), entry);
    store.save(&path).unwrap();
    let saved: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(saved["later"], true);
    assert_eq!(
        saved["servers"]["kcp1@https://provider.example"]["username"],
        "somebody"
    );
    assert_eq!(saved["current"], "https://b.example");
    assert_eq!(
        saved["servers"]["https://b.example"]["expiresAt"],
        "1970-01-01T00:01:00Z"
    );
}

#[test]
fn removing_the_current_server_leaves_none_current() {
    let mut store: Store = serde_json::from_str(ORIGINALS).unwrap();
    assert!(store.remove(&server("https://provider.example@kcp1")));
    assert!(!store.remove(&server("https://provider.example@kcp1")));
    assert!(store.current().is_none());
}

#[test]
fn empty_missing_and_null_are_empty_stores() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    assert!(Store::load(&path).unwrap().servers.is_empty());
    fs::write(&path, "\n").unwrap();
    assert!(Store::load(&path).unwrap().servers.is_empty());
    fs::write(&path, r#"{"servers": null}"#).unwrap();
    assert!(Store::load(&path).unwrap().servers.is_empty());
}

#[test]
fn a_broken_store_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    fs::write(
        &path,
        r#"{"servers": {"x": {"accessToken": ["secret-token"]}}}"#,
    )
    .unwrap();
    let err = crate::text::causes(&Store::load(&path).unwrap_err());
    assert!(!err.contains("secret-token"), "{err}");
}

#[cfg(unix)]
#[test]
fn modes_are_enforced_on_reading_and_writing() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(DIRECTORY).join("config");
    Store::default().save(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Store::load(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}
