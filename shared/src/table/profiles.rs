//! Profiles in the table.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use super::attempts::Written;
use super::client::Table;
use super::idempotency::{Created, Earlier, KeyedRequest};
use super::items::{ProfileItem, to_attributes};
use super::keys::{Key, PROFILES};
use super::requests::number;
use crate::{
    Caller, Error, IdempotencyKey, IfMatch, Limit, NewProfile, Page, Profile, ProfileId,
    ProfilePatch, Result,
};

const NOT_FOUND: Error = Error::NotFound(ProfileItem::KIND);

impl Table {
    /// Creates a profile that the caller owns.
    pub async fn create_profile(
        &self,
        caller: &Caller,
        input: NewProfile,
        key: Option<&IdempotencyKey>,
    ) -> Result<Created<Profile>> {
        let keyed = |key| KeyedRequest::new(caller, key, "create-profile", "", &input);
        let request = key.map(keyed).transpose()?;
        if let Some(earlier) = self.find_earlier(request.as_ref()).await? {
            return self.replay_profile(caller, earlier).await;
        }
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
            tokens: None,
            tokens_at: None,
            version: 1,
            written_by: Uuid::new_v4(),
            created_at: self.now(),
            listing: PROFILES.into(),
        };
        match self.create_once(to_attributes(&item)?, id, request.as_ref()).await? {
            Some(earlier) => self.replay_profile(caller, earlier).await,
            None => Ok(Created { resource: item.into(), replayed: false }),
        }
    }

    async fn replay_profile(
        &self,
        caller: &Caller,
        earlier: Earlier<ProfileId>,
    ) -> Result<Created<Profile>> {
        let Earlier { resource: id, recent } = earlier;
        let read = || async move {
            match self.get_profile(caller, id).await {
                Ok(profile) => Ok(Some(profile)),
                Err(Error::NotFound(_)) if recent => Ok(None),
                Err(Error::NotFound(_)) => Err(Error::Gone),
                Err(error) => Err(error),
            }
        };
        Ok(Created { resource: self.await_visible(read).await?, replayed: true })
    }

    /// Returns a profile, strongly consistent.
    pub async fn get_profile(&self, caller: &Caller, id: ProfileId) -> Result<Profile> {
        let item: ProfileItem = self.get_one(Key::profile(id)).await?.ok_or(NOT_FOUND)?;
        caller.check_see(&item.protected())?;
        Ok(item.into())
    }

    /// Returns the profiles of authors, strongly consistent, in one request. Deleted ones are absent.
    /// At most 100 distinct ids.
    pub(super) async fn authors(
        &self,
        ids: impl IntoIterator<Item = ProfileId>,
    ) -> Result<HashMap<ProfileId, Profile>> {
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

    /// Returns a page of profiles, newest first, older than `before`. Eventually consistent.
    pub async fn list_profiles(
        &self,
        caller: &Caller,
        limit: Limit,
        before: Option<ProfileId>,
    ) -> Result<Page<Profile, ProfileId>> {
        let listed = self.list(PROFILES, limit, before.map(|id| id.to_string())).await?;
        let mut found = self.get(listed.keys.iter().cloned()).await?;
        let mut results: Vec<Profile> = Vec::new();
        for key in &listed.keys {
            let item = found.take::<ProfileItem>(key)?;
            let seen = item.filter(|item| caller.check_see(&item.protected()).is_ok());
            results.extend(seen.map(Profile::from));
        }
        let next = listed.next.map(|id| id.parse()).transpose().map_err(Error::internal)?;
        Ok(Page { results, next })
    }

    /// Changes the fields that the patch names.
    pub async fn update_profile(
        &self,
        caller: &Caller,
        id: ProfileId,
        patch: ProfilePatch,
        if_match: &IfMatch,
    ) -> Result<Profile> {
        let mut sets: Vec<(&str, String)> = Vec::new();
        sets.extend(patch.first_name.map(|name| ("first_name", name.into())));
        sets.extend(patch.last_name.map(|name| ("last_name", name.into())));
        sets.extend(patch.job_title.map(|title| ("job_title", title.into())));
        let current: ProfileItem = self.get_one(Key::profile(id)).await?.ok_or(NOT_FOUND)?;
        let key = Key::profile(id);
        Ok(self.update_versioned(caller, key, current, &sets, if_match).await?.into())
    }

    /// Deletes a profile. Its messages stay.
    pub async fn delete_profile(
        &self,
        caller: &Caller,
        id: ProfileId,
        if_match: &IfMatch,
    ) -> Result<()> {
        let found: Option<ProfileItem> = self.get_one(Key::profile(id)).await?;
        let current = found.ok_or(NOT_FOUND)?;
        caller.check_change(&current.protected())?;
        if_match.check(current.version)?;
        let mut request = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(Key::profile(id).into_attributes()))
            .condition_expression("attribute_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if *if_match != IfMatch::Any {
            request = request
                .condition_expression("attribute_exists(pk) AND version = :read")
                .expression_attribute_values(":read", number(current.version));
        }
        let refused = |error: &DeleteItemError| match error {
            DeleteItemError::ConditionalCheckFailedException(failed) => {
                Some(failed.item().is_some())
            }
            _ => None,
        };
        match self.send_write(|| request.clone().send(), refused).await? {
            Written::Stored(output) => self.count_written(output.consumed_capacity()),
            Written::Refused { reason: true, .. } => return Err(Error::PreconditionFailed),
            // It is absent, perhaps because of an undecided attempt of this request.
            Written::Refused { reason: false, undecided: true } => {}
            Written::Refused { reason: false, undecided: false } => return Err(NOT_FOUND),
        }
        Ok(())
    }
}
