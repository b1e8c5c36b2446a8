import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/**
 * Creates Turnstile's topics on a cluster where they are missing, all in one start of the JVM:
 * {@code java -cp 'JARS/*' Topics.java topics.tsv HOST:PORT LANES PARTITIONS TOPIC...}
 *
 * <p>The file says what a new topic is given, and what one that is there must have. What is there already is never
 * changed. A number of partitions that the lanes cannot be served with is an error, one that has grown by a multiple of
 * them is said; a setting that is not as it must be is only said, because it may have been made for a trial.
 */
final class Topics {
    static final int ANSWER_MS_MAX = 30_000;

    /** A line of the file: what a new topic is given, what others must have, and why. */
    record Rule(String topic, String setting, String given, String must, String why) {
        static Rule parse(String line) {
            String[] columns = line.split("\t");
            return new Rule(columns[0], columns[1], columns[2], columns[3], columns[4]);
        }

        /** {@code must} is a value, {@code N or more}, or several of these with {@code , or } between them. */
        boolean allows(String value) {
            return Stream.of(must.split(", or ")).anyMatch(one -> one.endsWith(" or more")
                ? Long.parseLong(value) >= Long.parseLong(one.substring(0, one.length() - " or more".length()))
                : value.equals(one));
        }
    }

    /** How many partitions the topics have: events.index one for each lane, the others a multiple of the lanes. */
    record Counts(int lanes, int partitions) {
        int of(String topic) {
            return topic.equals("events.index") ? lanes : partitions;
        }

        /** Why a topic must not have so many; empty where it may. */
        Optional<String> refusal(String topic, int found) {
            String has = topic + " has " + found + " partitions";
            int beyond = found % lanes;
            return switch (topic) {
                case "events.index" -> found == lanes ? Optional.empty() : Optional.of(has + ", not " + lanes
                    + ": each is a lane, and how many there are is settled when the first of them is begun; say --lanes "
                    + found + " if it was begun with as many");
                // What was set aside has no lane.
                case "events.rejected" -> Optional.empty();
                default -> found < lanes ? Optional.of(has + " and there are " + lanes
                        + " lanes: some have none; add partitions, up to a multiple of " + lanes)
                    : beyond > 0 ? Optional.of(has + ", no multiple of the " + lanes + " lanes: those from "
                        + (found - beyond) + " on get no records; add partitions, up to " + (found - beyond + lanes))
                    : found < partitions ? Optional.of(has + ", not " + partitions + ": each of the " + lanes
                        + " lanes has " + found / lanes + " of them; add partitions, or say --partitions " + found)
                    : Optional.empty();
            };
        }
    }

    public static void main(String[] words) throws Exception {
        if (words.length < 5) {
            System.err.println("usage: Topics FILE HOST:PORT LANES PARTITIONS TOPIC...");
            System.exit(2);
        }
        Counts counts = new Counts(Integer.parseInt(words[2]), Integer.parseInt(words[3]));
        Map<String, List<Rule>> wanted = rules(Path.of(words[0]), List.of(words).subList(4, words.length));
        Map<String, Object> client = Map.of(
            AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, words[1],
            AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, ANSWER_MS_MAX);
        boolean good = false;
        try (Admin admin = Admin.create(client)) {
            create(admin, wanted, counts);
            good = compare(admin, wanted, counts);
        } catch (ExecutionException error) {
            System.err.println("the topics of " + words[1] + ": " + error.getCause().getMessage());
        }
        System.exit(good ? 0 : 1);
    }

    /** The file's rules of each of these topics. */
    static Map<String, List<Rule>> rules(Path file, List<String> topics) throws IOException {
        Map<String, List<Rule>> all = Files.readAllLines(file).stream()
            .filter(line -> !line.startsWith("#")).map(Rule::parse).collect(Collectors.groupingBy(Rule::topic));
        Map<String, List<Rule>> wanted = new TreeMap<>();
        for (String topic : topics) {
            if (!all.containsKey(topic)) {
                System.err.println("Turnstile has no topic " + topic);
                System.exit(2);
            }
            wanted.put(topic, all.get(topic));
        }
        return wanted;
    }

    static void create(Admin admin, Map<String, List<Rule>> wanted, Counts counts) throws Exception {
        var present = admin.listTopics().names().get();
        List<NewTopic> missing = new ArrayList<>();
        wanted.forEach((topic, rules) -> {
            if (!present.contains(topic)) {
                Map<String, String> settings = new TreeMap<>();
                rules.forEach(rule -> settings.put(rule.setting(), rule.given()));
                missing.add(new NewTopic(topic, Optional.of(counts.of(topic)), Optional.empty()).configs(settings));
            }
        });
        var results = admin.createTopics(missing).values();
        for (NewTopic topic : missing) {
            try {
                results.get(topic.name()).get();
                System.out.println("created " + topic.name() + " with " + topic.numPartitions() + " partitions, "
                    + topic.configs());
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof TopicExistsException)) {
                    throw error;
                }
            }
        }
    }

    /** Waits until every partition has a leader, then says what is not as it must be. */
    static boolean compare(Admin admin, Map<String, List<Rule>> wanted, Counts counts) throws Exception {
        boolean good = true;
        for (TopicDescription topic : described(admin, wanted).values()) {
            int found = topic.partitions().size();
            Optional<String> refusal = counts.refusal(topic.name(), found);
            if (refusal.isPresent()) {
                System.err.println(refusal.get());
                good = false;
            } else if (found > counts.of(topic.name())) {
                System.out.println(topic.name() + " has " + found + " partitions, more than " + counts.of(topic.name())
                    + ": it has grown, and is left as it is");
            }
        }
        List<ConfigResource> resources = wanted.keySet().stream()
            .map(topic -> new ConfigResource(ConfigResource.Type.TOPIC, topic)).toList();
        for (var found : admin.describeConfigs(resources).all().get().entrySet()) {
            wanted.get(found.getKey().name()).forEach(rule -> {
                String is = found.getValue().get(rule.setting()).value();
                if (!rule.allows(is)) {
                    System.err.println(rule.topic() + " has " + rule.setting() + "=" + is + ", must be " + rule.must()
                        + ": " + rule.why() + "; left as it is");
                }
            });
        }
        return good;
    }

    static Map<String, TopicDescription> described(Admin admin, Map<String, List<Rule>> wanted) throws Exception {
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
