import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A group member by Kafka's own consumer, in a JVM of its own: the Java twin of member.py, with
 * the same lines on stdout.
 *
 * Arguments: bootstrap, group, topic, instance id (empty: none), strategy, session timeout and
 * heartbeat interval in ms.
 */
public final class Member {
    private static boolean assigned;

    public static void main(String[] arguments) throws Exception {
        AtomicBoolean leave = new AtomicBoolean();
        Thread listener = new Thread(() -> {
            try {
                System.in.read();
            } catch (java.io.IOException gone) {
                // As good as a word.
            }
            leave.set(true);
        });
        listener.setDaemon(true);
        listener.start();

        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("group.id", arguments[1]);
        if (!arguments[3].isEmpty()) {
            settings.put("group.instance.id", arguments[3]);
        }
        if (arguments[4].startsWith("server ")) {
            settings.put("group.protocol", "consumer");
            settings.put("group.remote.assignor", arguments[4].substring(7));
        } else {
            settings.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer."
                + (arguments[4].equals("range") ? "RangeAssignor" : "CooperativeStickyAssignor"));
            settings.put("session.timeout.ms", arguments[5]);
            settings.put("heartbeat.interval.ms", arguments[6]);
        }
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("metadata.max.age.ms", 1000);
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
            settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(arguments[2]), new ConsumerRebalanceListener() {
            @Override public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                say("revoked", "partitions", places(revoked));
            }

            @Override public void onPartitionsAssigned(Collection<TopicPartition> added) {
                assigned = true;
            }
        });
        String told = "[]";
        try {
            while (!leave.get()) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(100));
                String owned = places(consumer.assignment());
                if (assigned || !owned.equals(told)) {
                    assigned = false;
                    told = owned;
                    say("assigned", "partitions", owned);
                }
                if (!polled.isEmpty()) {
                    consumer.commitSync();
                    List<String> records = new ArrayList<>();
                    for (ConsumerRecord<byte[], byte[]> record : polled) {
                        records.add("[\"" + record.topic() + "\"," + record.partition() + ","
                            + record.offset() + "]");
                    }
                    say("took", "records", "[" + String.join(",", records) + "]");
                }
            }
        } catch (KafkaException problem) {
            say("error", "text", "\"" + problem.getClass().getSimpleName() + "\"");
        }
        consumer.close();
        System.out.println("{\"event\":\"left\"}");
    }

    private static String places(Collection<TopicPartition> partitions) {
        TreeSet<String> sorted = partitions.stream()
            .map(place -> "[\"" + place.topic() + "\"," + place.partition() + "]")
            .collect(Collectors.toCollection(TreeSet::new));
        return "[" + String.join(",", sorted) + "]";
    }

    private static void say(String event, String field, String value) {
        System.out.println("{\"event\":\"" + event + "\",\"" + field + "\":" + value + "}");
    }
}
