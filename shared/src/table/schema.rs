//! Creating the table on a development engine. In the cloud CloudFormation creates it.

use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, Config};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection,
    ProjectionType, TimeToLiveSpecification,
};

use super::client::Table;
use crate::{Error, Result};

/// The declaration of a table.
#[derive(Clone, Debug)]
pub struct TableSchema {
    /// The attributes that keys use: name, and type `S`, `N` or `B`.
    pub attributes: Vec<(String, String)>,
    /// The primary key.
    pub key: KeySchema,
    /// The global secondary indexes.
    pub indexes: Vec<IndexSchema>,
    /// The attribute with the time of expiry (TTL).
    pub time_to_live: String,
}

/// A key: attribute names, each with its type `HASH` or `RANGE`.
pub type KeySchema = Vec<(String, String)>;

/// A global secondary index.
#[derive(Clone, Debug)]
pub struct IndexSchema {
    /// The name.
    pub name: String,
    /// The key.
    pub key: KeySchema,
    /// The attributes that it copies: `KEYS_ONLY` or `ALL`.
    pub projection: String,
}

/// The time for a request: an engine that has just started may need several seconds for its first.
const TIMEOUT: Duration = Duration::from_secs(30);

fn with_more_time() -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT);
    Config::builder().timeout_config(timeouts.build())
}

fn key_schema(key: &KeySchema) -> Result<Vec<KeySchemaElement>> {
    let element = |(name, kind): &(String, String)| {
        let element = KeySchemaElement::builder().attribute_name(name);
        element.key_type(kind.as_str().into()).build().map_err(Error::internal)
    };
    key.iter().map(element).collect()
}

impl Table {
    /// Creates the table, unless a table with its name exists.
    pub async fn create(&self, schema: &TableSchema) -> Result<()> {
        let mut request = self
            .client
            .create_table()
            .table_name(&*self.name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(Some(key_schema(&schema.key)?));
        for (name, kind) in &schema.attributes {
            let definition = AttributeDefinition::builder().attribute_name(name);
            let definition = definition.attribute_type(kind.as_str().into()).build();
            request = request.attribute_definitions(definition.map_err(Error::internal)?);
        }
        for index in &schema.indexes {
            let projection = ProjectionType::from(index.projection.as_str());
            let index = GlobalSecondaryIndex::builder()
                .index_name(&index.name)
                .set_key_schema(Some(key_schema(&index.key)?))
                .projection(Projection::builder().projection_type(projection).build());
            request = request.global_secondary_indexes(index.build().map_err(Error::internal)?);
        }
        if let Err(error) = request.customize().config_override(with_more_time()).send().await {
            return match error.as_service_error() {
                Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
                _ => Err(Error::Unavailable(error.into())),
            };
        }
        let time_to_live = TimeToLiveSpecification::builder().enabled(true);
        let time_to_live = time_to_live.attribute_name(&schema.time_to_live).build();
        self.client
            .update_time_to_live()
            .table_name(&*self.name)
            .time_to_live_specification(time_to_live.map_err(Error::internal)?)
            .customize()
            .config_override(with_more_time())
            .send()
            .await
            .map_err(|error| Error::Unavailable(error.into()))?;
        Ok(())
    }
}
