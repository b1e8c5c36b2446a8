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
 * {@code java -cp 'JARS/*' Topics.java topics.tsv HOST:PORT PARTITIONS TOPIC...}
 *
 * <p>The file says what a new topic is given, and what one that is there must have. What is there already is never
 * changed. Another number of partitions is an error, because it would send an event and its duplicate to different
 * places; a setting that is not as it must be is only said, because it may have been made for a trial.
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

    public static void main(String[] words) throws Exception {
        if (words.length < 4) {
            System.err.println("usage: Topics FILE HOST:PORT PARTITIONS TOPIC...");
            System.exit(2);
        }
        int partitions = Integer.parseInt(words[2]);
        Map<String, List<Rule>> wanted = rules(Path.of(words[0]), List.of(words).subList(3, words.length));
        Map<String, Object> client = Map.of(
            AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, words[1],
            AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, ANSWER_MS_MAX);
        boolean good = false;
        try (Admin admin = Admin.create(client)) {
            create(admin, wanted, partitions);
            good = compare(admin, wanted, partitions);
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

    static void create(Admin admin, Map<String, List<Rule>> wanted, int partitions) throws Exception {
        var present = admin.listTopics().names().get();
        List<NewTopic> missing = new ArrayList<>();
        wanted.forEach((topic, rules) -> {
            if (!present.contains(topic)) {
                Map<String, String> settings = new TreeMap<>();
                rules.forEach(rule -> settings.put(rule.setting(), rule.given()));
                missing.add(new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(settings));
            }
        });
        var results = admin.createTopics(missing).values();
        for (NewTopic topic : missing) {
            try {
                results.get(topic.name()).get();
                System.out.println("created " + topic.name() + " with " + partitions + " partitions, "
                    + topic.configs());
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof TopicExistsException)) {
                    throw error;
                }
            }
        }
    }

    /** Waits until every partition has a leader, then says what is not as it must be. */
    static boolean compare(Admin admin, Map<String, List<Rule>> wanted, int partitions) throws Exception {
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
