//! Moving the read positions of members.

use crate::access::Action;
use crate::table::access::View;
use crate::table::attempts::Written;
use crate::table::client::Table;
use crate::table::items::{MemberItem, ProfileItem, from_attributes};
use crate::table::keys::Key;
use crate::table::requests::number;
use crate::{Caller, ConversationId, Error, Member, NewReadPosition, ProfileId, Result, Seq};

/// The most attempts to move a read position.
const MAX_ATTEMPTS: u32 = 8;

const NOT_FOUND: Error = Error::NotFound(MemberItem::KIND);

impl Table {
    /// Moves the read position of a member forward. Never moves it back.
    pub async fn mark_read(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
        NewReadPosition { seq }: NewReadPosition,
    ) -> Result<Member> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(member) = self.try_mark(caller, conversation_id, profile_id, seq).await? {
                return Ok(member);
            }
            if let Some(error) = self.refuse_mark(caller, conversation_id, profile_id, seq).await? {
                return Err(error);
            }
        }
        Err(Error::Unavailable("the member was added and removed again and again".into()))
    }

    /// Moves a read position. Returns `None` if the member was absent, or not the caller's, or `seq`
    /// beyond the last message.
    async fn try_mark(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
        seq: Seq,
    ) -> Result<Option<Member>> {
        let keys = [Key::conversation(conversation_id), Key::profile(profile_id)];
        let mut found = self.get(keys.clone()).await?;
        let view = View::new(found.take(&keys[0])?, caller)?;
        let last_seq = view.conversation.last_seq;
        let profile = ProfileItem::live(found.take(&keys[1])?);
        // The owner of a member may see the conversation, so the member is all that is missing.
        let own = profile.filter(|profile| caller.is_owner(&profile.owner) && seq <= last_seq);
        let Some(profile) = own else { return Ok(None) };
        let request = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(Key::member(conversation_id, profile_id).into_attributes()))
            .update_expression("SET read_seq = :seq")
            // False if the member is absent.
            .condition_expression("read_seq < :seq")
            .expression_attribute_values(":seq", number(seq.get()));
        let item = match self.send_update(request).await? {
            Written::Stored(item) => item,
            Written::Refused { reason: Some(item), .. } => item,
            Written::Refused { reason: None, undecided: true } => {
                let cause = "the position may have moved before the member was removed";
                return Err(Error::OutcomeUnknown(cause.into()));
            }
            Written::Refused { reason: None, .. } => return Ok(None),
        };
        let item: MemberItem = from_attributes(item)?;
        Ok(Some(item.into_member(caller, profile.into(), last_seq)))
    }

    /// Returns why a read position was not moved: 404, then 403, then 422 `seq`. `None` if there is
    /// no reason any more.
    async fn refuse_mark(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        profile_id: ProfileId,
        seq: Seq,
    ) -> Result<Option<Error>> {
        let seat = self.read_seat(caller, conversation_id, profile_id).await?;
        seat.view.check(seat.standing, Action::Read)?;
        let profile = ProfileItem::live(seat.profile);
        let (Some(member), Some(_)) = (seat.member, profile) else { return Ok(Some(NOT_FOUND)) };
        seat.view.check(seat.standing, Action::MarkRead { owner: &member.owner })?;
        let last_seq = seat.view.conversation.last_seq;
        let beyond = || format!("must not be beyond last_seq, which is {last_seq}");
        Ok((seq > last_seq).then(|| Error::invalid("seq", beyond())))
    }
}
