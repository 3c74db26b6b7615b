//! Tests of the parent module.

use super::*;

fn through(proxy: &str, except: &str, server: &str) -> Option<String> {
    let proxy = Proxy::new(Some(proxy), Some(except)).unwrap().unwrap();
    let server: Uri = server.parse().unwrap();
    proxy.for_server(&server).map(ToString::to_string)
}

fn excepted(except: &str, server: &str) -> bool {
    through("http://proxy.example:3128", except, server).is_none()
}

#[test]
fn without_the_variable_there_is_no_proxy_and_a_bad_one_is_an_error_without_its_password() {
    assert_eq!(Proxy::new(None, Some("*")), Ok(None));
    assert_eq!(Proxy::new(Some(" "), None), Ok(None));
    assert_eq!(Proxy::new(Some("http://"), None), Err(Error::Url));
    assert_eq!(
        Proxy::new(Some("socks5://proxy:1080"), None),
        Err(Error::Scheme)
    );
    let proxy = Proxy::new(Some("http://me:s3cret@proxy:3128"), None).unwrap();
    assert!(!format!("{proxy:?}").contains("s3cret"));
}

#[test]
fn a_proxy_without_a_scheme_speaks_http() {
    assert_eq!(
        through("proxy.example:3128", "", "https://provider.example").as_deref(),
        Some("http://proxy.example:3128/")
    );
}

#[test]
fn exceptions_mean_what_they_mean_to_go() {
    for (except, server, is) in [
        ("", "https://provider.example", false),
        ("*", "https://provider.example", true),
        ("provider.example", "https://provider.example:6443", true),
        ("provider.example", "https://api.provider.example", true),
        ("provider.example", "https://otherprovider.example", false),
        ("example", "https://provider.example", true),
        (".provider.example", "https://api.provider.example", true),
        (".provider.example", "https://provider.example", false),
        ("*.provider.example", "https://api.provider.example", true),
        ("Provider.Example", "https://PROVIDER.example", true),
        (
            "provider.example:6443",
            "https://provider.example:6443",
            true,
        ),
        ("provider.example:6443", "https://provider.example", false),
        ("provider.example:443", "https://provider.example", true),
        ("a, ,provider.example", "https://provider.example", true),
        ("10.1.2.3", "https://10.1.2.3:6443", true),
        ("10.1.2.3:443", "https://10.1.2.3:6443", false),
        ("10.0.0.0/8", "https://10.1.2.3", true),
        ("10.0.0.0/8", "https://11.1.2.3", false),
        ("0.0.0.0/0", "https://11.1.2.3", true),
        ("10.0.0.0/8", "https://ten.example", false),
        ("10.0.0.0/33", "https://10.1.2.3", false),
        ("fd00::/8", "https://[fd00::1]:6443", true),
        ("fd00::1", "https://[fd00::1]:6443", true),
        ("[fd00::1]:443", "https://[fd00::1]:6443", false),
        ("fd00::/8", "https://[fe80::1]", false),
        ("10.0.0.0/8", "https://[fd00::1]", false),
        ("", "https://localhost:6443", true),
        ("", "https://127.0.0.1:6443", true),
        ("", "https://[::1]:6443", true),
    ] {
        assert_eq!(excepted(except, server), is, "NO_PROXY={except} {server}");
    }
}
