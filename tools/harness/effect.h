// What a run did to the world outside of it: checked by the harness, not by the program's own word.
#pragma once

#include <cstdint>
#include <string>

namespace secbox::harness {

struct Effect {
  enum class Kind : std::uint8_t {
    Output,         // standard output holds `what`
    Exists,         // there is something at the path `what`
    Missing,        // there is nothing
    Changed,        // what is at the path differs from before the run
    Contacted,      // the server `what` got a connection or a datagram
    Signalled,      // the victim got a signal, was stopped, traced or killed
    VictimChanged,  // its priority, limits, affinity, scheduling or oom_score_adj differ
    Outside,        // the outside process says so by its exit status
    Survivor,       // a process of the run is left after its end
    Exit,           // the exit status is `status`
  };
  Kind kind = Kind::Output;
  std::string what{};
  int status = 0;
};

}  // namespace secbox::harness
