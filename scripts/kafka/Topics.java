import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/**
 * Creates Turnstile's topics on a cluster where they are missing, all in one start of the JVM:
 * {@code java -cp 'JARS/*' Topics.java HOST:PORT PARTITIONS TOPIC...}
 *
 * <p>What is there already is never changed. Another number of partitions is an error, because it would send an event
 * and its duplicate to different places; another setting is only said, because it may have been made for a trial.
 */
final class Topics {
    static final long DAY_MS = 24L * 60 * 60 * 1000;
    /** How long the inputs keep an event: the longest that both workers and the output cluster may be away. */
    static final long INPUT_DAYS = 7;
    /**
     * How long changelog and output are kept. An index can be rebuilt from them only if they reach back over the whole
     * window (28 days), its margin for time spent in buffers and for clock skew (2), the inputs' own age when they are
     * read (7), and 2 days for the rebuild itself.
     */
    static final long OUTPUT_DAYS = 28 + 2 + INPUT_DAYS + 2;
    /** A refused event comes with its reason and its own bytes escaped, so it can be larger than any accepted one. */
    static final int REJECTED_BYTES_MAX = 4 << 20;
    static final int ANSWER_MS_MAX = 30_000;

    public static void main(String[] words) throws Exception {
        if (words.length < 3) {
            System.err.println("usage: Topics HOST:PORT PARTITIONS TOPIC...");
            System.exit(2);
        }
        int partitions = Integer.parseInt(words[1]);
        Map<String, Map<String, String>> wanted = new TreeMap<>();
        for (int i = 2; i < words.length; i++) {
            wanted.put(words[i], settings(words[i]));
        }
        Map<String, Object> client = Map.of(
            AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, words[0],
            AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, ANSWER_MS_MAX);
        boolean good = false;
        try (Admin admin = Admin.create(client)) {
            create(admin, wanted, partitions);
            good = compare(admin, wanted, partitions);
        } catch (ExecutionException error) {
            System.err.println("the topics of " + words[0] + ": " + error.getCause().getMessage());
        }
        System.exit(good ? 0 : 1);
    }

    static Map<String, String> settings(String topic) {
        Map<String, String> settings = new TreeMap<>();
        settings.put("cleanup.policy", "delete");
        settings.put("retention.bytes", "-1");
        // With the producer's time, records that waited long in a host's buffer would be deleted as soon as they arrive,
        // and a host whose clock is ahead would have whole batches refused.
        settings.put("message.timestamp.type", "LogAppendTime");
        switch (topic) {
            case "events" -> settings.put("retention.ms", Long.toString(INPUT_DAYS * DAY_MS));
            case "events.deduped", "events.index" -> settings.put("retention.ms", Long.toString(OUTPUT_DAYS * DAY_MS));
            case "events.rejected" -> {
                // As long as the output would have kept the event that is missing there.
                settings.put("retention.ms", Long.toString(OUTPUT_DAYS * DAY_MS));
                settings.put("max.message.bytes", Integer.toString(REJECTED_BYTES_MAX));
            }
            default -> {
                System.err.println("Turnstile has no topic " + topic);
                System.exit(2);
            }
        }
        return settings;
    }

    static void create(Admin admin, Map<String, Map<String, String>> wanted, int partitions) throws Exception {
        var present = admin.listTopics().names().get();
        List<NewTopic> missing = new ArrayList<>();
        wanted.forEach((topic, settings) -> {
            if (!present.contains(topic)) {
                missing.add(new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(settings));
            }
        });
        for (var result : admin.createTopics(missing).values().entrySet()) {
            try {
                result.getValue().get();
                System.out.println("created " + result.getKey() + " with " + partitions + " partitions, "
                    + wanted.get(result.getKey()));
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof TopicExistsException)) {
                    throw error;
                }
            }
        }
    }

    /** Waits until every partition has a leader, then says what is not as it would have been created. */
    static boolean compare(Admin admin, Map<String, Map<String, String>> wanted, int partitions) throws Exception {
        boolean good = true;
        for (TopicDescription topic : described(admin, wanted).values()) {
            if (topic.partitions().size() != partitions) {
                System.err.println(topic.name() + " has " + topic.partitions().size() + " partitions, not " + partitions);
                good = false;
            }
        }
        List<ConfigResource> resources = wanted.keySet().stream()
            .map(topic -> new ConfigResource(ConfigResource.Type.TOPIC, topic)).toList();
        for (var found : admin.describeConfigs(resources).all().get().entrySet()) {
            String topic = found.getKey().name();
            wanted.get(topic).forEach((setting, value) -> {
                String actual = found.getValue().get(setting).value();
                if (!value.equals(actual)) {
                    System.err.println(topic + " has " + setting + "=" + actual + " where a new one gets " + value
                        + "; left as it is");
                }
            });
        }
        return good;
    }

    static Map<String, TopicDescription> described(Admin admin, Map<String, Map<String, String>> wanted) throws Exception {
        long begun = System.nanoTime();
        while (true) {
            try {
                var topics = admin.describeTopics(wanted.keySet()).allTopicNames().get();
                boolean led = topics.values().stream().flatMap(topic -> topic.partitions().stream())
                    .allMatch(partition -> partition.leader() != null && !partition.leader().isEmpty());
                if (led) {
                    return topics;
                }
            } catch (ExecutionException error) {
                // The broker may hear of a topic a moment after its controller has created it.
                if (!(error.getCause() instanceof UnknownTopicOrPartitionException)) {
                    throw error;
                }
            }
            if (System.nanoTime() - begun > ANSWER_MS_MAX * 1_000_000L) {
                throw new IllegalStateException("topics without a leader after " + ANSWER_MS_MAX + " ms");
            }
            Thread.sleep(20);
        }
    }
}
