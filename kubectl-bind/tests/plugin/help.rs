//! Help, version and wrong command lines.

use crate::harness::World;

#[tokio::test]
async fn help_texts_are_these() {
    let world = World::new().await;
    for (name, args) in [
        ("bind", &["--help"][..]),
        ("login", &["login", "--help"]),
        ("templates", &["templates", "--help"]),
        ("apiservice", &["apiservice", "--help"]),
    ] {
        let outcome = world.run(args).await;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
        insta::assert_snapshot!(format!("help_of_{name}"), outcome.stdout);
    }
}

#[tokio::test]
async fn the_version_is_data() {
    let world = World::new().await;
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        world.run(&["--version"]).await.stdout,
        format!("kubectl-bind {version}\n")
    );
    assert_eq!(world.run(&["version"]).await.stdout, format!("{version}\n"));
    let outcome = world.run(&["version", "-o", "json"]).await;
    let document: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document["clientVersion"]["gitVersion"], version);
}

#[tokio::test]
async fn wrong_command_lines_are_errors_on_stderr() {
    let world = World::new().await;
    for args in [
        &["--no-such-flag"][..],
        &["--timeout", "soon"],
        &["--konnector-host-alias", "nowhere"],
        &["templates", "-o", "xml"],
    ] {
        let outcome = world.run(args).await;
        assert_eq!(outcome.code, 1, "{args:?}");
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    }
}

#[tokio::test]
async fn an_unknown_word_is_not_taken_for_a_server() {
    let world = World::new().await;
    let outcome = world.run(&["tempaltes"]).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .starts_with("error: \"tempaltes\" is not a server address"),
        "{}",
        outcome.stderr
    );
}
