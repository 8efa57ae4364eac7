//! Profiles in the table.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::attempts::Written;
use super::client::Table;
use super::idempotency::{Created, Earlier, KeyedRequest};
use super::items::{ProfileItem, from_attributes, to_attributes};
use super::keys::{Key, PROFILES, member_listing, owned_profile_sk, owner_pk};
use super::requests::Direction::Descending;
use super::requests::{Found, if_version};
use crate::{
    Caller, Error, IdempotencyKey, IfMatch, Limit, NewProfile, Page, Profile, ProfileId,
    ProfilePatch, Result,
};

/// The memberships that one query of the index returns.
const MEMBERSHIPS: usize = 100;

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
            deleted_at: None,
            listing: PROFILES.into(),
        };
        let owned = Key::owned_profile(&item.owner, id).into_attributes();
        match self.create_once([to_attributes(&item)?, owned], id, request.as_ref()).await? {
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
            match self.get_one::<ProfileItem>(Key::profile(id)).await? {
                None if recent => Ok(None),
                found => {
                    let item = found.ok_or(Error::Gone)?;
                    caller.check_see(&item.protected()).map_err(|_| Error::Gone)?;
                    Ok(Some(item.into()))
                }
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

    /// Returns the profiles of authors, strongly consistent. Deleted ones are absent.
    pub(super) async fn authors(
        &self,
        ids: impl IntoIterator<Item = ProfileId>,
    ) -> Result<HashMap<ProfileId, Profile>> {
        let ids: HashSet<ProfileId> = ids.into_iter().collect();
        self.get(ids.iter().map(|&id| Key::profile(id))).await?.take_profiles(ids)
    }

    /// Returns a page of profiles, newest first, older than `before`. Eventually consistent.
    pub async fn list_profiles(
        &self,
        caller: &Caller,
        limit: Limit,
        before: Option<ProfileId>,
    ) -> Result<Page<Profile, ProfileId>> {
        let listed = self.list(PROFILES, limit.get(), before.map(|id| id.to_string())).await?;
        let ids = listed.entries.iter().map(|entry| entry.id.parse());
        let ids: Vec<ProfileId> = ids.collect::<Result<_, _>>().map_err(Error::internal)?;
        let results = self.seen_profiles(caller, &ids).await?;
        let next = listed.next.map(|id| id.parse()).transpose().map_err(Error::internal)?;
        Ok(Page { results, next })
    }

    /// Returns a page of the caller's own profiles, newest first, older than `before`. Strongly
    /// consistent.
    pub async fn list_own_profiles(
        &self,
        caller: &Caller,
        limit: Limit,
        before: Option<ProfileId>,
    ) -> Result<Page<Profile, ProfileId>> {
        let newest = before.map_or(ProfileId::LAST, ProfileId::previous);
        let keys = owned_profile_sk(ProfileId::FIRST)..=owned_profile_sk(newest);
        let most = limit.get() + 1;
        let owned = self.query_items(owner_pk(caller.subject()), keys, Descending, most).await?;
        let ids = owned.iter().map(|key: &Key| key.sk.trim_start_matches("PROFILE#").parse());
        let mut ids: Vec<ProfileId> = ids.collect::<Result<_, _>>().map_err(Error::internal)?;
        let more = ids.len() > limit.get();
        ids.truncate(limit.get());
        let results = self.seen_profiles(caller, &ids).await?;
        Ok(Page { results, next: ids.last().copied().filter(|_| more) })
    }

    /// Reads the profiles that the caller may see, in this order.
    async fn seen_profiles(&self, caller: &Caller, ids: &[ProfileId]) -> Result<Vec<Profile>> {
        let mut found = self.get(ids.iter().map(|id| Key::profile(*id))).await?;
        let mut profiles = Vec::new();
        for id in ids {
            let item = found.take::<ProfileItem>(&Key::profile(*id))?;
            let seen = item.filter(|item| caller.check_see(&item.protected()).is_ok());
            profiles.extend(seen.map(Profile::from));
        }
        Ok(profiles)
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
        let check = |item: &ProfileItem| caller.check_change(&item.protected());
        Ok(self.update_versioned(key, current, &sets, if_match, check).await?.into())
    }

    /// Deletes a profile: marks it, so that no caller can see it or act as it. Its messages stay.
    /// Its memberships are removed until the deadline, and the rest by [`Table::purge_deleted`].
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
        let written_by = Uuid::new_v4();
        let request = self.mark_deleted(Key::profile(id), written_by);
        let found: Option<ProfileItem> =
            match self.send_update(if_version(request, if_match)).await? {
                Written::Stored(_) => None,
                Written::Refused { reason, .. } => Some(from_attributes(reason.ok_or(NOT_FOUND)?)?),
            };
        if let Some(found) = found.filter(|found| found.written_by != written_by) {
            caller.check_change(&found.protected())?;
            if_match.check(found.version)?;
            return Err(Error::internal("a deletion was refused without a reason"));
        }
        if let Err(error) = self.forget_profile(id, &current.owner).await {
            tracing::warn!(error = error.chain(), "memberships left to the purge");
        }
        Ok(())
    }

    /// Removes a deleted profile from its owner's list and from its conversations. Returns whether
    /// the index showed none.
    pub(super) async fn forget_profile(&self, id: ProfileId, owner: &str) -> Result<bool> {
        self.remove(&[Key::owned_profile(owner, id).into_attributes()]).await?;
        let (listing, mut before, mut none) = (member_listing(id), None, true);
        loop {
            let listed = self.list(&listing, MEMBERSHIPS, before).await?;
            for entry in listed.entries {
                none = false;
                self.remove_membership(&entry.key).await?;
            }
            before = listed.next;
            if before.is_none() {
                return Ok(none);
            }
        }
    }
}

impl Found {
    /// Takes out the profiles with these ids. Deleted ones are absent.
    pub(super) fn take_profiles(
        &mut self,
        ids: impl IntoIterator<Item = ProfileId>,
    ) -> Result<HashMap<ProfileId, Profile>> {
        let mut profiles = HashMap::new();
        for id in ids {
            let item = ProfileItem::live(self.take(&Key::profile(id))?);
            profiles.extend(item.map(|item| (id, item.into())));
        }
        Ok(profiles)
    }
}
