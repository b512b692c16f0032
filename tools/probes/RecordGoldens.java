import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

/** Prints, as JSON, batches that Kafka's own classes build; `tools/probes/record_goldens.py` runs it. */
public class RecordGoldens {
    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static SimpleRecord[] few() {
        return new SimpleRecord[] {
            new SimpleRecord(1_700_000_000_000L, utf8("key"), utf8("value"),
                new Header[] {new RecordHeader("a", utf8("1")), new RecordHeader("ä", null),
                    new RecordHeader("", new byte[0])}),
            new SimpleRecord(1_700_000_000_005L, null, utf8("no key")),
            new SimpleRecord(1_699_999_999_990L, utf8("no value"), null),
            new SimpleRecord(1_700_000_100_000L, new byte[0], new byte[0]),
        };
    }

    static SimpleRecord[] many() {
        SimpleRecord[] records = new SimpleRecord[400];
        for (int i = 0; i < records.length; i++) {
            char[] value = new char[500];
            Arrays.fill(value, (char) ('a' + i % 26));
            records[i] = new SimpleRecord(1_700_000_000_000L + i * 37L, utf8("key" + i), utf8(new String(value)));
        }
        return records;
    }

    static void print(String name, MemoryRecords records) {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        System.out.println("\"" + name + "\": \"" + HexFormat.of().formatHex(bytes) + "\",");
    }

    public static void main(String[] arguments) {
        Compression[] codecs = {
            Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build(),
            Compression.gzip().level(1).build(), Compression.lz4().level(17).build(),
            Compression.zstd().level(22).build(), Compression.zstd().level(-7).build(),
        };
        String[] names = {"none", "gzip", "snappy", "lz4", "zstd", "gzip 1", "lz4 17", "zstd 22", "zstd -7"};
        for (int i = 0; i < codecs.length; i++) {
            print("java " + names[i] + " few", MemoryRecords.withRecords(codecs[i], few()));
            if (i > 0)
                print("java " + names[i] + " many", MemoryRecords.withRecords(codecs[i], many()));
        }
        print("java transactional", MemoryRecords.withTransactionalRecords(
            40L, Compression.NONE, 7L, (short) 3, 2147483646, 9, few()));
        print("java commit marker", MemoryRecords.withEndTransactionMarker(
            41L, 1_700_000_000_000L, 9, 7L, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 5)));
        print("java abort marker", MemoryRecords.withEndTransactionMarker(
            42L, 1_700_000_000_000L, 9, 7L, (short) 3, new EndTransactionMarker(ControlRecordType.ABORT, 5)));
    }
}
