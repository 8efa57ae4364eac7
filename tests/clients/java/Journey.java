import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ConversationsApi;
import org.openapitools.client.api.MessagesApi;
import org.openapitools.client.api.ProfilesApi;
import org.openapitools.client.model.Kind;
import org.openapitools.client.model.MessagePatch;
import org.openapitools.client.model.NewConversation;
import org.openapitools.client.model.NewMessage;
import org.openapitools.client.model.NewProfile;
import org.openapitools.client.model.Problem;

/** The journey with the Java client of openapi-generator. */
public class Journey {
  private interface Call {
    void run() throws ApiException;
  }

  private static final ApiClient client = new ApiClient();

  public static void main(String[] arguments) throws Exception {
    client.updateBaseUri(arguments[0]);
    var profiles = new ProfilesApi(client);
    var conversations = new ConversationsApi(client);
    var messages = new MessagesApi(client);

    var ada =
        profiles.createProfile(new NewProfile().firstName("Ada").lastName("Lovelace"), key());
    check(ada.getFullName().equals("Ada Lovelace") && ada.getPoints() == 0, "a new profile");
    var subject = new NewConversation().subject("Engines").authorId(ada.getId());
    var id = conversations.createConversation(subject, key()).getId();

    var nested = Map.of("list", List.of(1, 2.5));
    Map<String, Object> metadata = Map.of("client", "test", "nested", nested);
    for (long number = 1; number <= 10; number++) {
      var message = new NewMessage().authorId(ada.getId()).text("Message " + number);
      message.setMetadata(metadata);
      var key = key();
      var posted = messages.createMessage(id, message, key);
      check(posted.getSeq() == number && posted.getPoints() == number, "one point per message");
      check(posted.getMetadata().equals(metadata), "the metadata");
      var reward = posted.getReward();
      check((reward != null) == (number == 10), "a reward at ten points");
      if (reward != null) {
        check(reward.getSeq() == 11 && reward.getType() == Kind.ACTION, "a congratulation");
        var text = "Congratulations Ada, you have reached 10 points!";
        check(reward.getAuthor() == null && reward.getText().equals(text), "its text");
        var repeated = messages.createMessage(id, message, key);
        check(repeated.getSeq() == 10 && repeated.getAuthor().getPoints() == 10, "a repeat");
      }
    }

    var seqs = new ArrayList<Long>();
    Long before = null;
    for (boolean more = true; more; ) {
      var page = messages.listMessages(id, 4, before, null);
      page.getResults().forEach(message -> seqs.add(message.getSeq()));
      before = seqs.get(seqs.size() - 1);
      more = page.getNext() != null;
    }
    check(seqs.equals(List.of(11L, 10L, 9L, 8L, 7L, 6L, 5L, 4L, 3L, 2L, 1L)), "every message");
    var newest = conversations.getConversation(id, null).getMessages().getResults().get(0);
    check(newest.getSeq() == 11, "the newest messages");

    var edited = messages.updateMessage(id, 1L, new MessagePatch().text("Edited"), null);
    check(edited.getText().equals("Edited") && edited.getEditedAt() != null, "an edited message");

    var missing = problem(404, () -> profiles.getProfile(UUID.randomUUID()));
    check(missing.getStatus() == 404 && missing.getCode().equals("not_found"), "a 404");
    var stranger = new NewConversation().subject("x").authorId(UUID.randomUUID());
    var invalid = problem(422, () -> conversations.createConversation(stranger, null));
    check(invalid.getStatus() == 422 && invalid.getCode().equals("invalid"), "a 422");
    check(invalid.getErrors().get("author_id").size() == 1, "its field");

    messages.deleteMessage(id, 1L, "\"" + edited.getChange() + "\"");
    var deleted = messages.getMessage(id, 1L);
    check(deleted.getText().isEmpty() && deleted.getDeletedAt() != null, "a deleted message");
    conversations.deleteConversation(id, null);
    profiles.deleteProfile(ada.getId(), null);
    var gone = problem(404, () -> conversations.getConversation(id, null));
    check(gone.getCode().equals("not_found"), "a deleted conversation");
  }

  private static String key() {
    return UUID.randomUUID().toString();
  }

  private static Problem problem(int status, Call call) throws Exception {
    try {
      call.run();
    } catch (ApiException error) {
      check(error.getCode() == status, "status " + error.getCode());
      return client.getObjectMapper().readValue(error.getResponseBody(), Problem.class);
    }
    throw new IllegalStateException("no error " + status);
  }

  private static void check(boolean condition, String what) {
    if (!condition) {
      throw new IllegalStateException(what);
    }
  }
}
