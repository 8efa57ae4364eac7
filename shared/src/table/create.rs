//! Creating the table where CloudFormation does not: on an engine of a developer or a test.

use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection, ProjectionType, TimeToLiveSpecification,
};
use serde::Deserialize;

use super::Table;
use crate::{Error, Result};

/// The `Properties` of an `AWS::DynamoDB::Table`, as far as an engine has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Declaration {
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<KeyElement>,
    global_secondary_indexes: Vec<Index>,
    time_to_live_specification: TimeToLive,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: IndexProjection,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexProjection {
    projection_type: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
}

fn key_schema(elements: &[KeyElement]) -> Result<Vec<KeySchemaElement>> {
    let element = |element: &KeyElement| {
        KeySchemaElement::builder()
            .attribute_name(&element.attribute_name)
            .key_type(element.key_type.as_str().into())
            .build()
            .map_err(Error::internal)
    };
    elements.iter().map(element).collect()
}

impl Table {
    /// Creates the table as it is declared, unless there is one of its name.
    pub async fn create(&self, declaration: &Declaration) -> Result<()> {
        let mut request = self
            .client
            .create_table()
            .table_name(&*self.name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(Some(key_schema(&declaration.key_schema)?));
        for attribute in &declaration.attribute_definitions {
            let definition = AttributeDefinition::builder()
                .attribute_name(&attribute.attribute_name)
                .attribute_type(attribute.attribute_type.as_str().into());
            request = request.attribute_definitions(definition.build().map_err(Error::internal)?);
        }
        for index in &declaration.global_secondary_indexes {
            let projection = ProjectionType::from(index.projection.projection_type.as_str());
            let index = GlobalSecondaryIndex::builder()
                .index_name(&index.index_name)
                .set_key_schema(Some(key_schema(&index.key_schema)?))
                .projection(Projection::builder().projection_type(projection).build());
            request = request.global_secondary_indexes(index.build().map_err(Error::internal)?);
        }
        match request.send().await {
            Ok(_) => {}
            Err(error) => match error.as_service_error() {
                Some(CreateTableError::ResourceInUseException(_)) => return Ok(()),
                _ => return Err(Error::Unavailable(error.into())),
            },
        }
        let time_to_live =
            TimeToLiveSpecification::builder().enabled(true).attribute_name(&declaration.time_to_live_specification.attribute_name);
        self.client
            .update_time_to_live()
            .table_name(&*self.name)
            .time_to_live_specification(time_to_live.build().map_err(Error::internal)?)
            .send()
            .await
            .map_err(|error| Error::Unavailable(error.into()))?;
        Ok(())
    }
}
