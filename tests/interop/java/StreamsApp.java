import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * TOPOLOGY,TOPOLOGY... NAME KEY=VALUE...: one instance of Kafka Streams applications.
 *
 * <p>The application of a topology is NAME-TOPOLOGY, and reads and writes the topics of this name
 * with -in and -out behind it. A setting TOPOLOGY/KEY=VALUE is of that application alone. Each
 * change of a state is a line on stdout, "TOPOLOGY RUNNING", and where it runs "TOPOLOGY has N"
 * says how many active tasks. All close when stdin ends.
 *
 * <p>"words" counts the words of lines; "cards" counts payments by card and minute of the event,
 * keyed CARD@MINUTE. As nothing is cached, each count from 1 on is a record of its own in the
 * output.
 */
public final class StreamsApp {
    public static void main(String[] arguments) throws Exception {
        List<KafkaStreams> running = new ArrayList<>();
        for (String topology : arguments[0].split(",")) {
            String application = arguments[1] + "-" + topology;
            Properties settings = settings(topology, Arrays.copyOfRange(arguments, 2, arguments.length));
            settings.put("application.id", application);
            running.add(started(topology, topology(topology, application), settings));
        }
        while (System.in.read() >= 0) {
            // Nobody says anything.
        }
        for (KafkaStreams streams : running) {
            if (!streams.close(Duration.ofSeconds(20))) {
                throw new IllegalStateException("not closed within 20 s");
            }
        }
    }

    private static Properties settings(String topology, String[] given) {
        Properties settings = new Properties();
        settings.put("default.key.serde", Serdes.StringSerde.class.getName());
        settings.put("default.value.serde", Serdes.StringSerde.class.getName());
        settings.put("statestore.cache.max.bytes", "0");
        for (String setting : given) {
            String[] both = setting.split("=", 2);
            String[] key = both[0].split("/", 2);
            if (key.length == 1 || key[0].equals(topology)) {
                settings.put(key[key.length - 1], both[1]);
            }
        }
        return settings;
    }

    private static KafkaStreams started(String name, Topology topology, Properties settings) {
        KafkaStreams streams = new KafkaStreams(topology, settings);
        streams.setStateListener((now, before) -> {
            String has = now != KafkaStreams.State.RUNNING ? "" : "\n" + name + " has "
                + streams.metadataForLocalThreads().stream().mapToInt(thread -> thread.activeTasks().size()).sum();
            System.out.println(name + " " + now + has);
            System.out.flush();
        });
        streams.setUncaughtExceptionHandler(problem -> {
            problem.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    private static Topology topology(String name, String application) {
        String input = application + "-in";
        String output = application + "-out";
        return name.equals("words") ? words(input, output) : cards(input, output);
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
