//! Documents that come from files or from the backend: checked before anything else happens.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use kube_bind_crds::api::{APIServiceExportRequest, APIServiceExportRequestSpec};
use kube_bind_crds::names::API_VERSION;
use kube_bind_crds::wire::BindingResourceResponse;
use serde_json::Value;

use crate::binder::Wanted;
use crate::consent;

/// Larger files are not requests.
const MAX_BYTES: u64 = 1024 * 1024;
/// The prefix of the role must fit in front of the name.
const MAX_NAME: usize = 200;

/// Reads a file, or standard input for `-`.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin()
            .take(MAX_BYTES + 1)
            .read_to_end(&mut content)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content))
    };
    result.with_context(|| format!("failed to read {}", path.display()))?;
    anyhow::ensure!(
        content.len() as u64 <= MAX_BYTES,
        "{} is too large",
        path.display()
    );
    Ok(content)
}

/// Reads an APIServiceExportRequest from YAML or JSON; `name` replaces its name.
pub fn request(content: &[u8], name: Option<&str>) -> anyhow::Result<Wanted> {
    let document: Value = serde_saphyr::from_slice(content).map_err(|err| {
        let text = err.to_string();
        // The first line says what and where; the others are for programmers.
        let first = text.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        let first = first.split(';').next().unwrap_or_default();
        anyhow::anyhow!(
            "failed to parse the request, which must be one YAML or JSON document: {first}"
        )
    })?;
    anyhow::ensure!(
        document["apiVersion"] == API_VERSION && document["kind"] == "APIServiceExportRequest",
        "the file is not an APIServiceExportRequest of {API_VERSION}"
    );
    let request: APIServiceExportRequest =
        serde_json::from_value(document).context("failed to understand the request")?;
    let name = name.map(str::to_owned).or(request.metadata.name);
    let name =
        name.ok_or_else(|| anyhow::anyhow!("the request has no name: give one with --name"))?;
    Ok(Wanted {
        name,
        spec: request.spec,
        claim_namespaces: None,
    })
}

/// A name must do for the binding, the export and the role.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    anyhow::ensure!(
        name.len() <= MAX_NAME && name.split('.').all(part),
        "{name:?} cannot be the name of a binding: use at most {MAX_NAME} lower-case letters, digits, '-' and '.', \
         with a letter or digit at each end and next to each '.'"
    );
    Ok(())
}

/// What the backend wants to be requested, which must not be more than what was agreed to.
pub fn agreed_requests(
    response: &BindingResourceResponse,
    agreed: &Wanted,
) -> anyhow::Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for request in &response.requests {
        anyhow::ensure!(
            request.api_version == API_VERSION && request.kind == "APIServiceExportRequest",
            "the provider's answer holds something else than an APIServiceExportRequest of {API_VERSION}"
        );
        if let Some(more) = consent::excess(&agreed.spec, &request.spec) {
            anyhow::bail!(
                "the provider asks for more than its template showed ({more}): nothing was bound"
            );
        }
        let spec: APIServiceExportRequestSpec = request.spec.clone();
        let name = request
            .metadata
            .name
            .clone()
            .filter(|name| !name.is_empty());
        wanted.push(Wanted {
            name: name.unwrap_or_else(|| agreed.name.clone()),
            spec,
            claim_namespaces: agreed.claim_namespaces.clone(),
        });
    }
    let named_as_agreed = matches!(&wanted[..], [one] if one.name == agreed.name);
    anyhow::ensure!(
        named_as_agreed,
        "the provider's answer does not hold exactly the request that was asked for"
    );
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agreed() -> Wanted {
        request(b"apiVersion: kube-bind.io/v1alpha2\nkind: APIServiceExportRequest\nmetadata: {name: widgets}\nspec:\n  resources: [{group: example.org, resource: widgets}]\n", None).unwrap()
    }

    fn response(requests: Value) -> BindingResourceResponse {
        serde_json::from_value(json!({"apiVersion": API_VERSION, "requests": requests})).unwrap()
    }

    fn element(name: &str, resource: &str) -> Value {
        json!({"apiVersion": API_VERSION, "kind": "APIServiceExportRequest", "metadata": {"name": name},
               "spec": {"resources": [{"group": "example.org", "resource": resource}]}, "status": {}})
    }

    #[test]
    fn exactly_the_agreed_request_is_accepted() {
        assert_eq!(
            agreed_requests(&response(json!([element("widgets", "widgets")])), &agreed())
                .unwrap()
                .len(),
            1
        );
        for requests in [
            json!([]),
            json!([element("other", "widgets")]),
            json!([element("widgets", "gadgets")]),
            json!([element("widgets", "widgets"), element("widgets", "widgets")]),
            json!([{"apiVersion": "v1", "kind": "Secret", "spec": {"resources": []}}]),
        ] {
            assert!(
                agreed_requests(&response(requests.clone()), &agreed()).is_err(),
                "{requests}"
            );
        }
    }

    #[test]
    fn files_with_other_kinds_are_refused() {
        assert!(request(b"kind: Secret\napiVersion: v1\n", None).is_err());
        assert!(request(b"- a\n", None).is_err());
        let error = request(b"a: 1\n---\nb: 1\n", None).unwrap_err().to_string();
        assert!(
            error.contains("one YAML") && error.contains("line 3") && !error.contains('\n'),
            "{error}"
        );
        assert_eq!(agreed().name, "widgets");
    }

    #[test]
    fn names_must_fit_everywhere() {
        for name in ["widgets", "a.b-c.d1"] {
            check_name(name).unwrap();
        }
        for name in ["", "Widgets", "a_b", "-a", "a-", "a..b", &"a".repeat(201)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
