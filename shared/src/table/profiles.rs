//! Profiles in the table.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use serde::{Deserialize, Serialize};

use super::keys::{Key, PROFILES};
use super::{Created, Idempotency, Table, owned, read};
use crate::profile::full_name;
use crate::{Caller, Error, Limit, NewProfile, Page, Profile, ProfileId, ProfilePatch, Result, Time};

/// The item of a profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ProfileItem {
    #[serde(flatten)]
    key: Key,
    pub(super) id: ProfileId,
    pub(super) first_name: String,
    last_name: String,
    job_title: String,
    pub(super) points: u64,
    is_admin: bool,
    pub(super) owner: String,
    created_at: Time,
    listing: String,
}

impl From<ProfileItem> for Profile {
    fn from(item: ProfileItem) -> Self {
        Self {
            id: item.id,
            full_name: full_name(&item.first_name, &item.last_name),
            first_name: item.first_name,
            last_name: item.last_name,
            job_title: item.job_title,
            points: item.points,
            is_admin: item.is_admin,
            created_at: item.created_at,
        }
    }
}

const NOT_FOUND: Error = Error::NotFound("profile");

impl Table {
    /// Creates a profile that belongs to the caller. `input` may be an error: the idempotency key is judged before it.
    pub async fn create_profile(
        &self,
        caller: &Caller,
        input: Result<NewProfile>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Created<Profile>> {
        if let Some(id) = self.find_key(caller, idempotency).await? {
            return self.replay_profile(id).await;
        }
        let input = input?;
        let id = ProfileId::generate();
        let item = ProfileItem {
            key: Key::profile(id),
            id,
            first_name: input.first_name.into(),
            last_name: input.last_name.into(),
            job_title: input.job_title.into(),
            points: 0,
            is_admin: caller.is_admin(),
            owner: caller.subject().to_owned(),
            created_at: Time::now(),
            listing: PROFILES.into(),
        };
        let attributes = serde_dynamo::to_item(&item).map_err(Error::internal)?;
        match self.put_once(caller, attributes, id, idempotency).await? {
            Some(earlier) => self.replay_profile(earlier).await,
            None => Ok(Created { resource: item.into(), replayed: false }),
        }
    }

    async fn replay_profile(&self, id: ProfileId) -> Result<Created<Profile>> {
        match self.get_profile(id).await {
            Ok(resource) => Ok(Created { resource, replayed: true }),
            Err(Error::NotFound(_)) => Err(Error::Gone),
            Err(error) => Err(error),
        }
    }

    /// A profile, strongly consistent.
    pub async fn get_profile(&self, id: ProfileId) -> Result<Profile> {
        Ok(self.profile_item(id).await?.ok_or(NOT_FOUND)?.into())
    }

    pub(super) async fn profile_item(&self, id: ProfileId) -> Result<Option<ProfileItem>> {
        let key = Key::profile(id);
        self.get([key.clone()]).await?.take(&key)
    }

    /// The profiles of these ids that exist, in one round trip. At most 100 distinct ids.
    pub(super) async fn profiles(&self, ids: impl IntoIterator<Item = ProfileId>) -> Result<HashMap<ProfileId, Profile>> {
        let ids: HashSet<ProfileId> = ids.into_iter().collect();
        let mut found = self.get(ids.iter().map(|&id| Key::profile(id))).await?;
        let mut profiles = HashMap::new();
        for id in ids {
            if let Some(item) = found.take::<ProfileItem>(&Key::profile(id))? {
                profiles.insert(id, item.into());
            }
        }
        Ok(profiles)
    }

    /// A page of profiles, newest first, older than `before`. Eventually consistent: it goes through the index.
    pub async fn list_profiles(&self, limit: Limit, before: Option<ProfileId>) -> Result<Page<Profile>> {
        let (keys, more) = self.listed(PROFILES, limit, before.map(|id| id.to_string())).await?;
        let mut found = self.get(keys.iter().cloned()).await?;
        let mut results: Vec<Profile> = Vec::new();
        for key in &keys {
            results.extend(found.take::<ProfileItem>(key)?.map(Profile::from));
        }
        let next = more.map(|id| format!("/profiles?limit={limit}&before={id}"));
        Ok(Page { results, next })
    }

    /// Changes what the patch names, if the caller may.
    pub async fn update_profile(&self, caller: &Caller, id: ProfileId, patch: ProfilePatch) -> Result<Profile> {
        let mut sets: Vec<(&str, String)> = Vec::new();
        sets.extend(patch.first_name.map(|name| ("first_name", name.into())));
        sets.extend(patch.last_name.map(|name| ("last_name", name.into())));
        sets.extend(patch.job_title.map(|title| ("job_title", title.into())));
        if sets.is_empty() {
            let item = self.profile_item(id).await?.ok_or(NOT_FOUND)?;
            caller.check(&item.owner)?;
            return Ok(item.into());
        }
        let request = self.update(Key::profile(id), "attribute_exists(pk)", sets);
        match self.send_update(owned(request, caller)).await? {
            Ok(item) => Ok(read::<ProfileItem>(item)?.into()),
            Err(Some(_)) => Err(Error::Forbidden),
            Err(None) => Err(NOT_FOUND),
        }
    }

    /// Deletes a profile, if the caller may. What it posted stays.
    pub async fn delete_profile(&self, caller: &Caller, id: ProfileId) -> Result<()> {
        let mut request = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(Key::profile(id).into_attributes()))
            .condition_expression("attribute_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(owner) = caller.must_own() {
            request = request
                .condition_expression("attribute_exists(pk) AND #owner = :owner")
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()));
        }
        let refused = |error: &DeleteItemError| match error {
            DeleteItemError::ConditionalCheckFailedException(failed) => Some(failed.item().is_some()),
            _ => None,
        };
        match self.send_write(|| request.clone().send(), refused).await? {
            Ok(output) => self.count_written(output.consumed_capacity()),
            Err((true, _)) => return Err(Error::Forbidden),
            // It is gone, and an unanswered attempt of ours may be why.
            Err((false, true)) => {}
            Err((false, false)) => return Err(NOT_FOUND),
        }
        Ok(())
    }
}
