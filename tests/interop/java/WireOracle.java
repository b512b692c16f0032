import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.StringWriter;
import java.io.PrintWriter;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Kafka's own message classes, asked over stdin and stdout.
 *
 * A question is a frame (int32 size): byte command, short-prefixed class name, int16 version, and
 * for 'T' (there and back) an encoded message, for 'G' (generate) int64 seed and byte small. The
 * answer is a frame: byte 0, int32-prefixed bytes of the message, and its fields as text; or byte 1
 * and a stack trace.
 *
 * The text has every field by name, also those the version lacks, so it shows fields that were
 * confused although they are written alike.
 */
public class WireOracle {
    private static final String[] PLACES = {
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s",
        "org.apache.kafka.coordinator.share.generated.%s",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.%s",
    };
    private static final int[] SIZES = {0, 0, 1, 1, 2, 3, 7, 20};
    private static final int[] LONG_SIZES = {126, 127, 128, 200, 16382, 16383};
    private static final String LETTERS = "abcXYZ019._-/ \u00e4\u00df\u03c0\u20ac\u6f22\u5b57";

    private final Map<String, Class<?>> classes = new HashMap<>();

    public static void main(String[] args) throws Exception {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        System.setOut(System.err);
        WireOracle oracle = new WireOracle();
        while (true) {
            byte[] frame;
            try {
                frame = new byte[in.readInt()];
            } catch (EOFException end) {
                return;
            }
            in.readFully(frame);
            ByteBuffer question = ByteBuffer.wrap(frame);
            byte[] answer;
            try {
                answer = oracle.answer(question);
            } catch (Throwable problem) {
                StringWriter trace = new StringWriter();
                problem.printStackTrace(new PrintWriter(trace));
                byte[] text = trace.toString().getBytes(StandardCharsets.UTF_8);
                answer = ByteBuffer.allocate(1 + text.length).put((byte) 1).put(text).array();
            }
            out.writeInt(answer.length);
            out.write(answer);
            out.flush();
        }
    }

    private byte[] answer(ByteBuffer question) throws Exception {
        byte command = question.get();
        byte[] name = new byte[question.getShort()];
        question.get(name);
        Class<?> cls = find(new String(name, StandardCharsets.UTF_8));
        short version = question.getShort();
        Message message = (Message) cls.getConstructor().newInstance();
        if (command == 'T') {
            ByteBuffer encoded = question.slice();
            message.read(new ByteBufferAccessor(encoded), version);
            if (encoded.hasRemaining())
                throw new IllegalStateException(encoded.remaining() + " bytes were not read");
        } else {
            Random random = new Random(question.getLong());
            boolean small = question.get() == 1;
            Schema[] schemas = (Schema[]) cls.getField("SCHEMAS").get(null);
            fill(message, schemas[version], random, 0, small);
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer bytes = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(bytes), cache, version);
        if (bytes.hasRemaining())
            throw new IllegalStateException("the size was computed wrongly");
        StringBuilder text = new StringBuilder();
        describe(message, text);
        byte[] described = text.toString().getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(1 + 4 + bytes.capacity() + described.length)
            .put((byte) 0).putInt(bytes.capacity()).put(bytes.array()).put(described).array();
    }

    private Class<?> find(String name) throws ClassNotFoundException {
        Class<?> found = classes.get(name);
        for (int i = 0; found == null && i < PLACES.length; i++) {
            try {
                found = Class.forName(String.format(PLACES[i], name));
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
            classes.put(name, found);
        }
        if (found == null)
            throw new ClassNotFoundException(name);
        return found;
    }

    private static String plain(String name) {
        return name.replace("_", "").toLowerCase(Locale.ROOT);
    }

    // Random values, for the fields that the schema of this version has.

    private void fill(Object target, Schema schema, Random random, int depth, boolean small)
            throws Exception {
        Map<String, Method> setters = new HashMap<>();
        for (Method method : target.getClass().getMethods())
            if (method.getName().startsWith("set") && method.getParameterCount() == 1)
                setters.put(plain(method.getName().substring(3)), method);
        for (BoundField bound : schema.fields()) {
            org.apache.kafka.common.protocol.types.Type type = bound.def.type;
            if (type instanceof TaggedFields) {
                for (var field : ((TaggedFields) type).fields().values())
                    if (random.nextInt(10) >= 3)
                        set(target, setters, field.name, field.type, random, depth, small);
            } else {
                set(target, setters, bound.def.name, type, random, depth, small);
            }
        }
    }

    private void set(Object target, Map<String, Method> setters, String name,
            org.apache.kafka.common.protocol.types.Type type, Random random, int depth,
            boolean small) throws Exception {
        Method setter = setters.get(plain(name));
        if (setter == null)
            throw new IllegalStateException(target.getClass() + " has no setter for " + name);
        setter.invoke(target, value(setter.getGenericParameterTypes()[0], type, random, depth, small));
    }

    private Object value(Type java, org.apache.kafka.common.protocol.types.Type type,
            Random random, int depth, boolean small) throws Exception {
        if (type.isNullable() && random.nextInt(5) == 0)
            return null;
        if (type.arrayElementType().isPresent())
            return list(java, type.arrayElementType().get(), random, depth, small);
        if (type instanceof Schema) {
            Object nested = ((Class<?>) java).getConstructor().newInstance();
            fill(nested, (Schema) type, random, depth + 1, small);
            return nested;
        }
        String name = type.toString();
        if (java == boolean.class || java == Boolean.class) return random.nextBoolean();
        if (java == byte.class || java == Byte.class) return (byte) number(random, 8);
        if (java == short.class || java == Short.class) return (short) number(random, 16);
        if (name.equals("UINT16")) return (int) (number(random, 16) & 0xffff);
        if (name.equals("UINT32")) return number(random, 32) & 0xffffffffL;
        if (java == int.class || java == Integer.class) return (int) number(random, 32);
        if (java == long.class || java == Long.class) return number(random, 64);
        if (java == double.class) return random.nextInt(4) == 0 ? -0.0 : random.nextGaussian() * 1e9;
        if (java == Uuid.class) return new Uuid(random.nextLong(), random.nextLong());
        int size = SIZES[random.nextInt(small ? 7 : SIZES.length)];
        if (!small && random.nextInt(50) == 0)
            size = LONG_SIZES[random.nextInt(LONG_SIZES.length)];
        if (java == String.class) {
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < size; i++)
                text.append(LETTERS.charAt(random.nextInt(LETTERS.length())));
            return text.toString();
        }
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        if (java == byte[].class) return bytes;
        if (java == ByteBuffer.class) return ByteBuffer.wrap(bytes);
        if (java == BaseRecords.class) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        throw new IllegalStateException("no random value for " + java + " " + name);
    }

    private static long number(Random random, int bits) {
        long low = -1L << (bits - 1);
        switch (random.nextInt(4)) {
            case 0: return random.nextLong() >> (64 - bits);
            case 1: return random.nextInt(100);
            case 2: return low;
            default: return ~low;
        }
    }

    @SuppressWarnings("unchecked")
    private Object list(Type java, org.apache.kafka.common.protocol.types.Type element,
            Random random, int depth, boolean small) throws Exception {
        int count = random.nextInt(depth > 2 || small ? 3 : 4);
        if (!small && depth == 0 && !(element instanceof Schema) && random.nextInt(5) == 0)
            count = 130;
        Collection<Object> list;
        Type inner;
        if (java instanceof ParameterizedType) {
            list = new ArrayList<>();
            inner = ((ParameterizedType) java).getActualTypeArguments()[0];
        } else {
            Class<?> collection = (Class<?>) java;
            list = (Collection<Object>) collection.getConstructor().newInstance();
            inner = ((ParameterizedType) collection.getGenericSuperclass())
                .getActualTypeArguments()[0];
        }
        for (int i = 0; i < count; i++)
            list.add(value(inner, element, random, depth + 1, small));
        return list;
    }

    // A message as text; tests/messages.py describes ours in the same way.

    private static void describe(Object value, StringBuilder out) throws Exception {
        if (value == null) {
            out.append('~');
        } else if (value instanceof Message) {
            TreeMap<String, Object> fields = new TreeMap<>();
            for (Field field : value.getClass().getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers())
                        || field.getName().equals("_unknownTaggedFields")
                        || field.getName().equals("next") && field.getType() == int.class
                        || field.getName().equals("prev") && field.getType() == int.class)
                    continue;
                field.setAccessible(true);
                fields.put(plain(field.getName()), field.get(value));
            }
            out.append('{');
            for (Map.Entry<String, Object> entry : fields.entrySet()) {
                out.append(entry.getKey()).append('=');
                describe(entry.getValue(), out);
                out.append(' ');
            }
            out.append('}');
        } else if (value instanceof Collection) {
            out.append('[');
            for (Object item : (Collection<?>) value) {
                describe(item, out);
                out.append(' ');
            }
            out.append(']');
        } else if (value instanceof Boolean) {
            out.append((Boolean) value ? "true" : "false");
        } else if (value instanceof Double) {
            out.append(String.format("%016x", Double.doubleToLongBits((Double) value)));
        } else if (value instanceof Number) {
            out.append(value);
        } else {
            hex(bytes(value), out);
        }
    }

    private static byte[] bytes(Object value) {
        if (value instanceof String) return ((String) value).getBytes(StandardCharsets.UTF_8);
        if (value instanceof byte[]) return (byte[]) value;
        if (value instanceof Uuid) {
            Uuid uuid = (Uuid) value;
            return ByteBuffer.allocate(16).putLong(uuid.getMostSignificantBits())
                .putLong(uuid.getLeastSignificantBits()).array();
        }
        ByteBuffer buffer = value instanceof MemoryRecords
            ? ((MemoryRecords) value).buffer().duplicate() : ((ByteBuffer) value).duplicate();
        byte[] copy = new byte[buffer.remaining()];
        buffer.get(copy);
        return copy;
    }

    private static void hex(byte[] bytes, StringBuilder out) {
        out.append('\'');
        for (byte b : bytes)
            out.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
        out.append('\'');
    }
}
