// As pin.c: sessions in a list, each of whose nodes holds a page. With an argument they are in one
// piece, and the pages go back.
#include <list>
#include <memory>
#include <vector>

namespace shop {
struct Session {
    char state[24];
};

template <typename T> class Registry {
    std::list<T> kept;

  public:
    __attribute__((noinline)) void keep(const T &item) {
        kept.push_back(item); // SITE
    }
    std::size_t size() const { return kept.size(); }
};
} // namespace shop

int main(int count, char **) {
    const bool pooled = count > 1;
    std::vector<shop::Session> pool;

    constexpr int sessions = 10000;
    auto *registry = new shop::Registry<shop::Session>;
    std::vector<std::unique_ptr<char[]>> requests;
    requests.reserve(sessions);
    pool.reserve(pooled ? sessions : 0);
    for (int number = 0; number < sessions; number++) {
        requests.push_back(std::make_unique<char[]>(4000));
        if (pooled)
            pool.push_back(shop::Session{});
        else
            registry->keep(shop::Session{});
    }
    requests.clear();
    return registry->size() + pool.size() != sessions;
}
