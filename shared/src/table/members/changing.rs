//! Adding, changing and removing members.
//!
//! A late attempt must not undo what was answered since. So a role changes, and a member is
//! removed, only as it was read: `written_by` changes with each of these writes. That a member is
//! absent may hold again, so an addition that was refused after an unanswered attempt has an
//! unknown outcome.

use aws_sdk_dynamodb::types::builders::{DeleteBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use uuid::Uuid;

use crate::access::{Action, Standing};
use crate::table::access::View;
use crate::table::attempts::{Attempts, Effect};
use crate::table::client::Table;
use crate::table::items::{AccessItem, ConversationItem, MemberItem, ProfileItem, to_attributes};
use crate::table::keys::{Attributes, Key};
use crate::table::requests::number;
use crate::table::transactions::{Decision, Slot, Writes};
use crate::{
    Caller, ConversationId, Error, Member, NewMember, ProfileId, Result, Role, Seq, Visibility,
};

/// The most transactions that a change of a member sends.
const MAX_TRANSACTIONS: u32 = 8;

/// The result of adding a member.
#[derive(Clone, Debug)]
pub enum PutMember {
    /// The profile was added.
    Added(Member),
    /// The profile was a member already; its role may have changed.
    Present(Member),
}

/// A profile and a conversation, and what they have to do with each other and with the caller.
pub(super) struct Seat<'c> {
    pub(super) view: View<'c>,
    pub(super) standing: Standing,
    /// The profile, perhaps marked deleted.
    pub(super) profile: Option<ProfileItem>,
    pub(super) member: Option<MemberItem>,
}

/// What a request to put a member changes.
enum Change {
    Add(MemberItem),
    /// The member as it was read, and its new role.
    SetRole(MemberItem, Role),
    Nothing(MemberItem),
}

impl Change {
    /// Returns whether a late attempt at it may be committed after a later one was refused.
    fn may_be_late(&self) -> bool {
        matches!(self, Self::Add(_))
    }

    fn into_result(self, caller: &Caller, profile: ProfileItem, last_seq: Seq) -> PutMember {
        let profile = profile.into();
        match self {
            Self::Add(item) => PutMember::Added(item.into_member(caller, profile, last_seq)),
            Self::SetRole(item, role) => {
                let item = MemberItem { role, ..item };
                PutMember::Present(item.into_member(caller, profile, last_seq))
            }
            Self::Nothing(item) => PutMember::Present(item.into_member(caller, profile, last_seq)),
        }
    }
}

impl Table {
    /// Adds a profile to a conversation, or sets its role.
    pub async fn put_member(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
        input: NewMember,
    ) -> Result<PutMember> {
        let mut attempts = self.attempts(Effect::Transaction).limited(MAX_TRANSACTIONS);
        loop {
            let seat = self.read_seat(caller, conversation_id, profile_id).await?;
            let Seat { view, standing, profile, member } = seat;
            let Some(profile) = ProfileItem::live(profile) else {
                view.check(standing, Action::Read)?;
                return Err(Error::invalid("profile_id", "is not the id of a profile"));
            };
            let (owner, role, is_member) = (&*profile.owner, input.role, member.is_some());
            view.check(standing, Action::PutMember { owner, role, is_member })?;
            let change = match (member, role) {
                (None, role) => {
                    let (conversation, role) = (&view.conversation, role.unwrap_or_default());
                    Change::Add(MemberItem::new(conversation, &profile, role, self.now()))
                }
                (Some(item), Some(role)) if item.role != role => Change::SetRole(item, role),
                (Some(item), _) => Change::Nothing(item),
            };
            let last_seq = view.conversation.last_seq;
            let writes = match &change {
                Change::Add(item) => self.addition(item)?,
                Change::SetRole(item, role) => self.role_change(item, *role)?,
                Change::Nothing(_) => return Ok(change.into_result(caller, profile, last_seq)),
            };
            let reasons = match attempts.transact(writes, Uuid::new_v4()).await? {
                Decision::Committed => return Ok(change.into_result(caller, profile, last_seq)),
                Decision::Refused(reasons) if change.may_be_late() && reasons.is_undecided() => {
                    return Err(Error::OutcomeUnknown("an addition may still be committed".into()));
                }
                Decision::Refused(reasons) | Decision::Conflict(reasons) => reasons,
            };
            attempts.pause_after(reasons.into_failure()).await?;
        }
    }

    /// Removes a profile from a conversation, unless it is no member.
    pub async fn delete_member(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
    ) -> Result<()> {
        let mut attempts = self.attempts(Effect::Transaction).limited(MAX_TRANSACTIONS);
        loop {
            match self.try_delete(&mut attempts, caller, conversation_id, profile_id).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // The removal itself may be the reason.
                Err(error) if attempts.is_undecided() => {
                    return Err(Error::OutcomeUnknown(error.into()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a member and makes one attempt to remove it. Returns whether it is gone; otherwise it
    /// has to be read again.
    async fn try_delete(
        &self,
        attempts: &mut Attempts<'_>,
        caller: &Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
    ) -> Result<bool> {
        let seat = self.read_seat(caller, conversation_id, profile_id).await?;
        let Some(member) = &seat.member else {
            seat.view.check(seat.standing, Action::Read)?;
            return self.is_removed(attempts, &seat).await;
        };
        seat.view.check(seat.standing, Action::RemoveMember { owner: &member.owner })?;
        self.try_remove(attempts, member).await
    }

    /// Removes a member, by its key, unless it is gone.
    pub(in crate::table) async fn remove_membership(&self, key: &Key) -> Result<()> {
        let mut attempts = self.attempts(Effect::Transaction).limited(MAX_TRANSACTIONS);
        loop {
            let Some(member) = self.get_one::<MemberItem>(key.clone()).await? else {
                return Ok(());
            };
            if self.try_remove(&mut attempts, &member).await? {
                return Ok(());
            }
        }
    }

    /// Reads a conversation, a profile, its member, and what the caller's profiles are.
    pub(super) async fn read_seat<'c>(
        &self,
        caller: &'c Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
    ) -> Result<Seat<'c>> {
        let keys = [
            Key::conversation(conversation_id),
            Key::profile(profile_id),
            Key::member(conversation_id, profile_id),
            Key::access(conversation_id, caller.subject()),
        ];
        let mut found = self.get(keys.clone()).await?;
        let view = View::new(found.take(&keys[0])?, caller)?;
        let (profile, member) = (found.take(&keys[1])?, found.take(&keys[2])?);
        let access: Option<AccessItem> = found.take(&keys[3])?;
        Ok(Seat { view, standing: access.unwrap_or_default().standing(), profile, member })
    }

    /// Returns whether a member that was not found has been removed completely; otherwise it has to be
    /// read again.
    ///
    /// Another removal may be visible in part: the member is gone, but its owner can still see the
    /// conversation. A transaction over both items conflicts with it until it is visible completely.
    async fn is_removed(&self, attempts: &mut Attempts<'_>, seat: &Seat<'_>) -> Result<bool> {
        let Some(profile) = &seat.profile else { return Ok(true) };
        let ConversationItem { id, visibility, .. } = seat.view.conversation;
        if visibility == Visibility::Public {
            return Ok(true);
        }
        let check = |key: Key, condition: &str| {
            let check = ConditionCheck::builder()
                .table_name(&*self.name)
                .set_key(Some(key.into_attributes()))
                .condition_expression(condition)
                .build()
                .map_err(Error::internal)?;
            Ok::<_, Error>(TransactWriteItem::builder().condition_check(check).build())
        };
        let (member, access) = (Key::member(id, profile.id), Key::access(id, &profile.owner));
        let any = "attribute_exists(pk) OR attribute_not_exists(pk)";
        let writes = vec![
            (Slot::Member, check(member, "attribute_not_exists(pk)")?),
            (Slot::Access, check(access, any)?),
        ];
        match attempts.transact(writes, Uuid::new_v4()).await? {
            Decision::Committed => Ok(true),
            Decision::Refused(_) => Ok(false),
            Decision::Conflict(reasons) => {
                attempts.pause_after(reasons.into_failure()).await?;
                Ok(false)
            }
        }
    }

    /// Makes one attempt to remove a member as it was read. Returns whether it is removed;
    /// otherwise it has to be read again.
    async fn try_remove(&self, attempts: &mut Attempts<'_>, member: &MemberItem) -> Result<bool> {
        let access: Option<AccessItem> =
            self.get_one(Key::access(member.id, &member.owner)).await?;
        let writes = self.removal(member, access.unwrap_or_default())?;
        let reasons = match attempts.transact(writes, Uuid::new_v4()).await? {
            Decision::Committed => return Ok(true),
            Decision::Refused(reasons) => {
                // The number of the owner's members may become right again, for an earlier attempt
                // too. `written_by` never does.
                let decided = reasons.refused::<MemberItem>(Slot::Member)?.is_some();
                attempts.set_undecided(reasons.is_undecided() && !decided);
                reasons
            }
            Decision::Conflict(reasons) => reasons,
        };
        if let Some(None) = reasons.refused::<AccessItem>(Slot::Access)? {
            // The purge is removing the conversation.
            return Ok(true);
        }
        attempts.pause_after(reasons.into_failure()).await?;
        Ok(false)
    }

    /// Returns the items of the author of a new conversation, who is its first member.
    pub(in crate::table) fn first_member(
        &self,
        conversation: &ConversationItem,
        author: &ProfileItem,
    ) -> Result<[Attributes; 2]> {
        let created_at = conversation.created_at;
        let member = MemberItem::new(conversation, author, Role::Moderator, created_at);
        let mut access = to_attributes(&AccessItem { members: 1, moderators: 1 })?;
        access.extend(Key::access(conversation.id, &author.owner).into_attributes());
        Ok([to_attributes(&member)?, access])
    }

    fn addition(&self, item: &MemberItem) -> Result<Writes> {
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(to_attributes(item)?))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(Error::internal)?;
        let access = self.update_access(item, 1, moderators(item.role));
        Ok(vec![
            (Slot::Member, TransactWriteItem::builder().put(put).build()),
            (Slot::Access, update(access)?),
        ])
    }

    fn role_change(&self, item: &MemberItem, role: Role) -> Result<Writes> {
        let member = Update::builder()
            .table_name(&*self.name)
            .set_key(Some(item.key.clone().into_attributes()))
            .update_expression("SET #role = :role, written_by = :new")
            .condition_expression("written_by = :read")
            .expression_attribute_names("#role", "role")
            .expression_attribute_values(
                ":role",
                serde_dynamo::to_attribute_value(role).map_err(Error::internal)?,
            )
            .expression_attribute_values(":new", AttributeValue::S(Uuid::new_v4().to_string()))
            .expression_attribute_values(":read", AttributeValue::S(item.written_by.to_string()));
        let change = moderators(role) - moderators(item.role);
        let access =
            self.update_access(item, 0, change).condition_expression("attribute_exists(pk)");
        Ok(vec![(Slot::Member, update(member)?), (Slot::Access, update(access)?)])
    }

    /// Builds the removal of a member from what its owner's profiles are. The last one takes the
    /// owner's item with it.
    fn removal(&self, item: &MemberItem, access: AccessItem) -> Result<Writes> {
        let member = Delete::builder()
            .table_name(&*self.name)
            .set_key(Some(item.key.clone().into_attributes()))
            .condition_expression("written_by = :read")
            .expression_attribute_values(":read", AttributeValue::S(item.written_by.to_string()));
        let access = if access.members > 1 {
            let access = self.update_access(item, -1, -moderators(item.role));
            update(
                access
                    .condition_expression("members > :one")
                    .expression_attribute_values(":one", number(1)),
            )?
        } else {
            let access = Delete::builder()
                .table_name(&*self.name)
                .set_key(Some(Key::access(item.id, &item.owner).into_attributes()))
                .condition_expression("members = :one")
                .expression_attribute_values(":one", number(1))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            delete(access)?
        };
        Ok(vec![(Slot::Member, delete(member)?), (Slot::Access, access)])
    }

    /// Builds the update of the item that counts the members of a member's owner.
    fn update_access(&self, item: &MemberItem, members: i8, moderators: i8) -> UpdateBuilder {
        let number = |number: i8| AttributeValue::N(number.to_string());
        Update::builder()
            .table_name(&*self.name)
            .set_key(Some(Key::access(item.id, &item.owner).into_attributes()))
            .update_expression("ADD members :members, moderators :moderators")
            .expression_attribute_values(":members", number(members))
            .expression_attribute_values(":moderators", number(moderators))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Returns how much a member adds to the number of moderators.
fn moderators(role: Role) -> i8 {
    match role {
        Role::Moderator => 1,
        Role::Member => 0,
    }
}

fn update(update: UpdateBuilder) -> Result<TransactWriteItem> {
    let update = update.build().map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn delete(delete: DeleteBuilder) -> Result<TransactWriteItem> {
    let delete = delete.build().map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}
