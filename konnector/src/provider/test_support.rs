//! A connected provider behind a scripted server, for tests of what works through it.

use kube_bind_runtime::kubeconfig::{Policy, render};

use super::*;

/// The provider `uid-1`, with cluster namespace `tenant`.
pub fn connected(ctx: &Arc<Context>, client: Client) -> Arc<Provider> {
    let secrets = Secrets::new(
        ctx.client.clone(),
        ctx.shutdown.clone(),
        Arc::new(|_, _| {}),
    );
    let namespaces = ConsumerNamespaces::start(ctx.client.clone(), &ctx.shutdown, |_| {});
    let providers = Providers::new(ctx.clone(), Arc::new(secrets), namespaces);
    let document = render("https://provider.example", None, None, "tenant", "t0ken");
    let kubeconfig = SafeKubeconfig::parse(document.as_bytes(), Policy::default()).unwrap();
    let secret = ClusterSecretKeyRef {
        name: "kubeconfig".into(),
        namespace: "kube-bind".into(),
        key: "kubeconfig".into(),
    };
    providers.start("uid-1", &secret, kubeconfig, client.into())
}
