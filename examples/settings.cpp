// Remembers a player's name, volume and window from one start to the next: settings [FILE [NAME]]
#include <fmt/core.h>
#include <kvs/kvs.hpp>
#include <string>

struct Window {
    int width, height;
};
template <>
inline constexpr bool kvs::enable_bytes<Window> = true;  // to be stored as it lies in memory

const kvs::Setting<std::string> player{"player", "Player One"};
constexpr kvs::Setting<float> volume{"volume", 0.8f};
constexpr kvs::Setting<Window> window{"window", {1280, 720}};

int main(int argc, char** argv) try {
    kvs::Store<32> prefs{argc > 1 ? argv[1] : "settings.akvs"};  // keys of up to 32 bytes
    if (argc > 2) prefs[player] = argv[2];

    const int starts = prefs.get_or("starts", 0) + 1;
    const auto [width, height] = prefs.get(window);
    fmt::print("Hello {}, this is start {}.\n", prefs.get(player), starts);
    fmt::print("The volume is {}, the window {} x {}.\n", prefs.get(volume), width, height);

    prefs.set("starts", starts);
    prefs[volume] = 0.5f;  // the player turns it down, and makes the window larger
    prefs[window] = {1920, 1080};
    prefs.sync();  // closing does that too, but cannot report a failure
} catch (const kvs::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
}
