import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * TOPOLOGY INPUT OUTPUT KEY=VALUE...: one instance of a Kafka Streams application.
 *
 * <p>Each change of its state is a line on stdout. It closes when stdin ends. "words" counts the
 * words of lines; "cards" counts payments by card and minute of the event, keyed CARD@MINUTE. As
 * nothing is cached, each count from 1 on is a record of its own in the output.
 */
public final class StreamsApp {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("default.key.serde", Serdes.StringSerde.class.getName());
        settings.put("default.value.serde", Serdes.StringSerde.class.getName());
        settings.put("statestore.cache.max.bytes", "0");
        for (String setting : Arrays.copyOfRange(arguments, 3, arguments.length)) {
            String[] both = setting.split("=", 2);
            settings.put(both[0], both[1]);
        }
        Topology topology = arguments[0].equals("words")
            ? words(arguments[1], arguments[2]) : cards(arguments[1], arguments[2]);
        try (KafkaStreams streams = new KafkaStreams(topology, settings)) {
            streams.setStateListener((now, before) -> {
                System.out.println(now);
                System.out.flush();
            });
            streams.setUncaughtExceptionHandler(problem -> {
                problem.printStackTrace();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            while (System.in.read() >= 0) {
                // Nobody says anything.
            }
            if (!streams.close(Duration.ofSeconds(20))) {
                throw new IllegalStateException("not closed within 20 s");
            }
        }
    }

    private static Topology words(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream(input);
        lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .mapValues(String::valueOf)
            .to(output);
        return builder.build();
    }

    private static Topology cards(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> payments = builder.stream(input);
        payments.groupByKey()
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofMinutes(5)))
            .count()
            .toStream((window, count) -> window.key() + "@" + window.window().startTime().toEpochMilli() / 60_000)
            .mapValues(String::valueOf)
            .to(output);
        return builder.build();
    }
}
