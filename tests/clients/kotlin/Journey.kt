// The journey with the Kotlin client of openapi-generator.

import java.util.UUID
import org.openapitools.client.apis.ConversationsApi
import org.openapitools.client.apis.MessagesApi
import org.openapitools.client.apis.ProfilesApi
import org.openapitools.client.infrastructure.ClientError
import org.openapitools.client.infrastructure.ClientException
import org.openapitools.client.infrastructure.Serializer
import org.openapitools.client.models.Kind
import org.openapitools.client.models.MessagePatch
import org.openapitools.client.models.NewConversation
import org.openapitools.client.models.NewMessage
import org.openapitools.client.models.NewProfile
import org.openapitools.client.models.Problem

fun main(arguments: Array<String>) {
    val profiles = ProfilesApi(arguments[0])
    val conversations = ConversationsApi(arguments[0])
    val messages = MessagesApi(arguments[0])

    val ada = profiles.createProfile(NewProfile("Ada", lastName = "Lovelace"), key())
    check(ada.fullName == "Ada Lovelace" && ada.points == 0L) { "a new profile" }
    val subject = NewConversation(authorId = ada.id, subject = "Engines")
    val id = conversations.createConversation(subject, key()).id

    val metadata = mapOf("client" to "test", "nested" to mapOf("list" to listOf(1.0, 2.5)))
    for (number in 1L..10L) {
        val message = NewMessage(ada.id, "Message $number", metadata)
        val key = key()
        val posted = messages.createMessage(id, message, key)
        check(posted.seq == number && posted.points == number) { "one point per message" }
        check(posted.metadata == metadata) { "the metadata" }
        check((posted.reward != null) == (number == 10L)) { "a reward at ten points" }
        posted.reward?.let { reward ->
            check(reward.seq == 11L && reward.type == Kind.action) { "a congratulation" }
            check(reward.text == "Congratulations Ada, you have reached 10 points!") { "its text" }
            val repeated = messages.createMessage(id, message, key)
            check(repeated.seq == 10L && repeated.author?.points == 10L) { "a repeat" }
        }
    }

    val seqs = mutableListOf<Long>()
    do {
        val page = messages.listMessages(id, limit = 4, before = seqs.lastOrNull())
        seqs += page.results.map { it.seq }
    } while (page.next != null)
    check(seqs == (11L downTo 1L).toList()) { "every message once" }
    val newest = conversations.getConversation(id).messages.results[0]
    check(newest.seq == 11L) { "the newest messages" }

    val edited = messages.updateMessage(id, 1, MessagePatch(text = "Edited"))
    check(edited.text == "Edited" && edited.editedAt != null) { "an edited message" }

    val missing = problem { profiles.getProfile(UUID.randomUUID()) }
    check(missing.status == 404 && missing.code == "not_found") { "a 404" }
    val stranger = NewConversation(authorId = UUID.randomUUID(), subject = "x")
    val invalid = problem { conversations.createConversation(stranger) }
    check(invalid.status == 422 && invalid.code == "invalid") { "a 422" }
    check(invalid.errors?.get("author_id")?.size == 1) { "its field" }

    messages.deleteMessage(id, 1)
    val deleted = messages.getMessage(id, 1)
    check(deleted.text == "" && deleted.deletedAt != null) { "a deleted message" }
    conversations.deleteConversation(id)
    profiles.deleteProfile(ada.id)
    check(problem { conversations.getConversation(id) }.code == "not_found") { "a deleted one" }
    // The pool of OkHttp would keep the process alive for a minute.
    System.exit(0)
}

private fun key() = UUID.randomUUID().toString()

private fun problem(call: () -> Unit): Problem {
    val error = runCatching(call).exceptionOrNull() as ClientException
    val body = (error.response as ClientError<*>).body as String
    return checkNotNull(Serializer.moshi.adapter(Problem::class.java).fromJson(body))
}
