import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own producers and consumers, opened and driven over stdin and stdout.
 *
 * A request is an operation byte and its fields; an answer is 0 and what came of it, or 1 and the
 * text of what was thrown. Strings are as DataOutput writes them, bytes an int32 size (-1: null)
 * and the bytes.
 */
public final class Clients {
    private static final int OPEN_PRODUCER = 1;
    private static final int SEND = 2;
    private static final int OPEN_CONSUMER = 3;
    private static final int TAKE = 4;
    private static final int CLOSE = 5;
    private static final long DEADLINE_MS = 60_000;
    private static final String LARGEST = "4194304";

    private static final Map<Integer, AutoCloseable> OPEN = new HashMap<>();
    private static final Map<Integer, List<ConsumerRecord<byte[], byte[]>>> LEFT = new HashMap<>();
    private static int handles;

    public static void main(String[] unused) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        while (true) {
            int operation;
            try {
                operation = in.readByte();
            } catch (EOFException end) {
                return;
            }
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try {
                serve(operation, in, new DataOutputStream(bytes));
                out.writeByte(0);
                bytes.writeTo(out);
            } catch (IOException broken) {
                throw broken;
            } catch (Exception problem) {
                out.writeByte(1);
                out.writeUTF(String.valueOf(problem));
            }
            out.flush();
        }
    }

    private static void serve(int operation, DataInputStream in, DataOutputStream out)
            throws Exception {
        switch (operation) {
            case OPEN_PRODUCER -> out.writeInt(
                keep(producer(in.readUTF(), in.readUTF(), in.readBoolean())));
            case SEND -> send(in, out);
            case OPEN_CONSUMER -> out.writeInt(keep(consumer(in)));
            case TAKE -> take(in, out);
            case CLOSE -> OPEN.remove(in.readInt()).close();
            default -> throw new IOException("operation " + operation);
        }
    }

    private static int keep(AutoCloseable client) {
        OPEN.put(++handles, client);
        return handles;
    }

    private static KafkaProducer<byte[], byte[]> producer(
            String bootstrap, String compression, boolean idempotent) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("compression.type", compression);
        settings.put("enable.idempotence", idempotent);
        settings.put("acks", "all");
        settings.put("linger.ms", 20);
        settings.put("max.request.size", LARGEST);
        settings.put("reconnect.backoff.ms", 20);
        settings.put("reconnect.backoff.max.ms", 200);
        return new KafkaProducer<>(
            settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(DataInputStream in) throws IOException {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", in.readUTF());
        settings.put("enable.auto.commit", false);
        settings.put("reconnect.backoff.ms", 20);
        settings.put("reconnect.backoff.max.ms", 200);
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
            settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        TopicPartition place = new TopicPartition(in.readUTF(), in.readInt());
        consumer.assign(List.of(place));
        consumer.seek(place, in.readLong());
        return consumer;
    }

    @SuppressWarnings("unchecked")
    private static void send(DataInputStream in, DataOutputStream out) throws Exception {
        KafkaProducer<byte[], byte[]> producer =
            (KafkaProducer<byte[], byte[]>) OPEN.get(in.readInt());
        String topic = in.readUTF();
        int partition = in.readInt();
        int count = in.readInt();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            byte[] key = bytes(in);
            byte[] value = bytes(in);
            List<Header> headers = new ArrayList<>();
            for (int left = in.readInt(); left > 0; left--) {
                headers.add(new RecordHeader(in.readUTF(), bytes(in)));
            }
            sent.add(producer.send(
                new ProducerRecord<>(topic, partition, in.readLong(), key, value, headers)));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            out.writeLong(one.get().offset());
        }
    }

    @SuppressWarnings("unchecked")
    private static void take(DataInputStream in, DataOutputStream out) throws Exception {
        int handle = in.readInt();
        int count = in.readInt();
        KafkaConsumer<byte[], byte[]> consumer =
            (KafkaConsumer<byte[], byte[]>) OPEN.get(handle);
        List<ConsumerRecord<byte[], byte[]>> taken =
            LEFT.computeIfAbsent(handle, unused -> new ArrayList<>());
        long deadline = System.currentTimeMillis() + DEADLINE_MS;
        while (taken.size() < count) {
            if (System.currentTimeMillis() > deadline) {
                throw new Exception(taken.size() + " of " + count + " records in time");
            }
            consumer.poll(Duration.ofMillis(500)).forEach(taken::add);
        }
        for (ConsumerRecord<byte[], byte[]> record : taken.subList(0, count)) {
            out.writeLong(record.offset());
            out.writeLong(record.timestamp());
            write(out, record.key());
            write(out, record.value());
            Header[] headers = record.headers().toArray();
            out.writeInt(headers.length);
            for (Header header : headers) {
                out.writeUTF(header.key());
                write(out, header.value());
            }
        }
        taken.subList(0, count).clear();
    }

    private static byte[] bytes(DataInputStream in) throws IOException {
        int size = in.readInt();
        if (size < 0) {
            return null;
        }
        byte[] bytes = new byte[size];
        in.readFully(bytes);
        return bytes;
    }

    private static void write(DataOutputStream out, byte[] bytes) throws IOException {
        out.writeInt(bytes == null ? -1 : bytes.length);
        if (bytes != null) {
            out.write(bytes);
        }
    }
}
