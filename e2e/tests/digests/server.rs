//! The requests of the sync engine and of others, as `konnector`'s executor makes them.

use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use kube_bind_crds::digest::{self, Digest, FieldSet, Schema};
use kube_bind_crds::names::FIELD_MANAGER_SYNC;
use serde_json::{Value, json};

pub type Answer = Result<Value, kube::Error>;

/// One kind on the API server, seen by the engine.
pub struct Kind {
    pub client: Client,
    pub path: String,
    pub schema: Schema,
}

impl Kind {
    pub async fn post(&self, body: &Value) -> Answer {
        let params = PostParams {
            field_manager: Some("author".to_owned()),
            ..Default::default()
        };
        let request = Request::new(&self.path).create(&params, serde_json::to_vec(body).unwrap());
        self.client.request(request.unwrap()).await
    }

    pub async fn put(&self, manager: &str, body: &Value) -> Answer {
        let params = PostParams {
            field_manager: Some(manager.to_owned()),
            ..Default::default()
        };
        let name = body["metadata"]["name"].as_str().unwrap();
        let request =
            Request::new(&self.path).replace(name, &params, serde_json::to_vec(body).unwrap());
        self.client.request(request.unwrap()).await
    }

    /// Creates, never changes.
    pub async fn create(&self, configuration: &Value) -> Answer {
        let mut body = configuration.clone();
        body["metadata"]["resourceVersion"] = json!("0");
        self.apply(&body).await
    }

    async fn apply(&self, configuration: &Value) -> Answer {
        let name = configuration["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply(FIELD_MANAGER_SYNC).force();
        let request = Request::new(&self.path).patch(name, &params, &Patch::Apply(configuration));
        let request = request.unwrap().map(|_| digest::to_apply(configuration));
        self.client.request(request).await
    }

    /// Applies on the copy whose last known body this is, which may be out of date.
    pub async fn change(&self, known: &Value, configuration: &Value) -> Answer {
        let mut body = configuration.clone();
        body["metadata"]["uid"] = known["metadata"]["uid"].clone();
        self.shrink(known, &body).await?;
        let result = self.apply(&body).await?;
        Ok(self.shrink(&result, &body).await?.unwrap_or(result))
    }

    async fn shrink(
        &self,
        body: &Value,
        configuration: &Value,
    ) -> Result<Option<Value>, kube::Error> {
        let ours = FieldSet::applied_by(body, FIELD_MANAGER_SYNC);
        let others = FieldSet::of_others(body, FIELD_MANAGER_SYNC);
        let shrinking = self.schema.shrink(body, &ours, &others, configuration);
        if shrinking.is_empty() {
            return Ok(None);
        }
        let tests = ["uid", "resourceVersion"].into_iter().map(|field| {
            json!({"op": "test", "path": format!("/metadata/{field}"), "value": body["metadata"][field]})
        });
        let operations: Value = tests.chain(shrinking).collect();
        let patch = Patch::Json::<()>(serde_json::from_value(operations).unwrap());
        let name = body["metadata"]["name"].as_str().unwrap();
        let params = PatchParams {
            field_manager: Some("kube-bind-konnector".to_owned()),
            ..Default::default()
        };
        let request = Request::new(&self.path).patch(name, &params, &patch);
        self.client.request(request.unwrap()).await.map(Some)
    }

    pub fn applied(&self, configuration: &Value) -> Digest {
        self.schema.applied(configuration)
    }

    pub fn owned(&self, body: &Value) -> Digest {
        self.schema
            .owned(body, &FieldSet::applied_by(body, FIELD_MANAGER_SYNC))
    }
}
