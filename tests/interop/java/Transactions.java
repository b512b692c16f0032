import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringSerializer;

/** BOOTSTRAP TOPIC COUNT: so many transactions, every third aborted; prints offset and epoch. */
public class Transactions {
    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String topic = arguments[1];
        int count = Integer.parseInt(arguments[2]);
        String group = topic + "-group";
        TopicPartition place = new TopicPartition(topic, 0);
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap,
            "transactional.id", topic + "-java",
            "retry.backoff.ms", "20");
        try (var producer = new KafkaProducer<String, String>(
                settings, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            for (int number = 0; number < count; number++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, number % 2, null, "" + number));
                producer.sendOffsetsToTransaction(
                    Map.of(place, new OffsetAndMetadata(number)), new ConsumerGroupMetadata(group));
                if (number % 3 == 0) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            var offsets = admin.listConsumerGroupOffsets(group)
                .partitionsToOffsetAndMetadata().get();
            var described = admin.describeTransactions(List.of(topic + "-java")).all().get();
            var listed = admin.listTransactions().all().get();
            if (listed.isEmpty()) {
                throw new IllegalStateException("no transactions are listed");
            }
            var producers = admin.describeProducers(Set.of(place)).all().get().get(place);
            if (producers.activeProducers().isEmpty()) {
                throw new IllegalStateException("no producers are described");
            }
            System.out.println(
                offsets.get(place).offset() + " " + described.get(topic + "-java").producerEpoch());
        }
    }
}
