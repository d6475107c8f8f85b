// Bugs of stores that processes share, each with its story.
#include <kvs/kvs.hpp>

#include <string>

#include "../catch.hpp"
#include "../support/temp_dir.hpp"

// A read-only handle looks at a file at rest through a mapping of its own, in which the pages that it wrote stay as
// they were. When somebody opens the file for writing, its next read mixes those with newer ones: it sees epochs that
// lie ahead, takes them for damage, notices that its view is over and reads again. The value was right, but the damage
// had been reported already. Found by crash/shared_storm.cpp.
TEST_CASE("what a read-only handle sees in a view that is over is not reported as damage", "[shared][regressions]") {
    kvs_test::TempDir dir;
    const std::string path = dir.file();
    const auto change = [&](int value) {
        kvs::Store<8> writer(path, {.sync = kvs::sync_manual});
        writer.set("key", value - 1);
        writer.sync();
        writer.set("key", value);  // into the other slot, with an epoch that the reader's view does not know
    };
    change(2);
    int reports = 0;
    const kvs::Store<8> reader(path,
                               {.mode = kvs::Mode::read_only, .on_damage = [&](const kvs::Damage&) { ++reports; }});
    CHECK(reader.get<int>("key") == 2);
    change(4);
    CHECK(reader.value("key") == kvs::Value(4));
    CHECK(reports == 0);
}
