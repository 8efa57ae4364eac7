//! Reading members: of a conversation, and of a profile (its inbox).

use std::cmp::Reverse;

use crate::member::InboxCursor;
use crate::table::access::View;
use crate::table::client::Table;
use crate::table::items::{ConversationItem, MemberItem, ProfileItem};
use crate::table::keys::{Key, conversation_pk, member_listing};
use crate::table::requests::Consistency::Eventual;
use crate::table::requests::Direction::Ascending;
use crate::{Caller, ConversationId, Error, Limit, Member, Membership, Page, ProfileId, Result};

/// The conversations of a profile that its inbox sorts: the newest ones.
const INBOX: usize = 1000;

impl Table {
    /// Returns a page of members by profile id, above `after`, strongly consistent.
    pub async fn list_members(
        &self,
        caller: &Caller,
        id: ConversationId,
        limit: Limit,
        after: Option<ProfileId>,
    ) -> Result<Page<Member, ProfileId>> {
        let first = after.map_or(ProfileId::FIRST, ProfileId::next);
        let keys = member_listing(first)..=member_listing(ProfileId::LAST);
        let (found, members) = tokio::join!(
            self.get_one(Key::conversation(id)),
            self.query_items(conversation_pk(id), keys, Ascending, limit.get() + 1)
        );
        let view = View::new(found?, caller)?;
        let mut members: Vec<MemberItem> = members?;
        let more = members.len() > limit.get();
        members.truncate(limit.get());
        let ids = members.iter().map(MemberItem::profile_id).collect::<Result<Vec<_>>>()?;
        let mut profiles = self.show(&view, ids.iter().copied()).await?;
        let mut results = Vec::new();
        for (member, id) in members.into_iter().zip(&ids) {
            // Members whose profile is deleted are about to be removed.
            let profile = profiles.remove(id);
            let last_seq = view.conversation.last_seq;
            results.extend(profile.map(|profile| member.into_member(caller, profile, last_seq)));
        }
        Ok(Page { results, next: ids.last().copied().filter(|_| more) })
    }

    /// Returns a page of the conversations of a profile, most recent activity first, among its
    /// 1,000 newest. An entry that moves between two pages may be missed or repeated.
    ///
    /// The conversations are read eventually consistently, the members of the page after them
    /// strongly. So it shows nothing that was posted after a removal was answered.
    pub async fn list_memberships(
        &self,
        caller: &Caller,
        id: ProfileId,
        limit: Limit,
        after: Option<InboxCursor>,
    ) -> Result<Page<Membership, InboxCursor>> {
        let profile: Option<ProfileItem> = self.get_one(Key::profile(id)).await?;
        let profile = profile.ok_or(Error::NotFound(ProfileItem::KIND))?;
        caller.check_change(&profile.protected())?;
        let mut conversations = self.conversations_of(id).await?;
        conversations.retain(|item| after.is_none_or(|after| cursor(item) < after));
        conversations.sort_unstable_by_key(|item| Reverse(cursor(item)));
        let more = conversations.len() > limit.get();
        conversations.truncate(limit.get());
        let next = conversations.last().filter(|_| more).map(cursor);
        let member = |item: &ConversationItem| Key::member(item.id, id);
        let mut members = self.get(conversations.iter().map(member)).await?;
        let mut results = Vec::new();
        for item in conversations {
            let Some(found) = members.take::<MemberItem>(&member(&item))? else { continue };
            let member = found.into_member(caller, profile.clone().into(), item.last_seq);
            results.push(Membership { member, conversation: item.into_summary() });
        }
        Ok(Page { results, next })
    }

    /// Reads the newest conversations of a profile that are not deleted, eventually consistent.
    async fn conversations_of(&self, id: ProfileId) -> Result<Vec<ConversationItem>> {
        let listed = self.list(&member_listing(id), INBOX, None).await?;
        let ids = listed.entries.iter().map(|entry| entry.id.parse());
        let ids: Vec<ConversationId> = ids.collect::<Result<_, _>>().map_err(Error::internal)?;
        let mut found =
            self.get_with(Eventual, ids.iter().map(|id| Key::conversation(*id))).await?;
        let mut conversations = Vec::new();
        for id in ids {
            let item: Option<ConversationItem> = found.take(&Key::conversation(id))?;
            conversations.extend(item.filter(|item| item.deleted_at.is_none()));
        }
        Ok(conversations)
    }
}

/// Returns the place of a conversation in an inbox.
fn cursor(item: &ConversationItem) -> InboxCursor {
    InboxCursor { active_at: item.active_at(), id: item.id }
}
