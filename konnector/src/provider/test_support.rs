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
    attach(&providers, "uid-1", client)
}

/// A provider with this uid behind these connections, with cluster namespace `tenant`.
pub fn connected_through(connections: &Connections, uid: &str, client: Client) -> Arc<Provider> {
    attach(&connections.providers, uid, client)
}

fn attach(providers: &Providers, uid: &str, client: Client) -> Arc<Provider> {
    let server = "https://provider.example";
    let document = render(server, None, None, "tenant", "t0ken");
    let kubeconfig = SafeKubeconfig::parse(document.as_bytes(), Policy::default()).unwrap();
    let secret = ClusterSecretKeyRef {
        name: "kubeconfig".into(),
        namespace: "kube-bind".into(),
        key: "kubeconfig".into(),
    };
    let attached = providers.attach(uid, &secret, kubeconfig, client.into());
    attached.unwrap()
}
