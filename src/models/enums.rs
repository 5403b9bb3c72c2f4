//! The enums of a list of models, which whoever uses them sees. Each method is a match over them:
//! reading is async and steps borrow, so trait objects would need boxed futures.

/// Makes the enum of the sizes of those in the list, which are read as `dyn $Sizes`, and that of
/// the models themselves; for each further line one of what a trait's type is to them.
macro_rules! enums {
    (
        [$($Model:ident),+] as $Trait:ident;
        $(#[$of_config:meta])* $Config:ident: $Sizes:ident;
        $(#[$of_all:meta])* $All:ident;
        $($(#[$of_type:meta])* $vis:vis $Enum:ident: $Type:ident;)*
    ) => {
        $(#[$of_config])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "there is one of a model")]
        #[expect(missing_docs, reason = "each is documented in its file")]
        pub enum $Config {
            $($Model(<$Model as $Trait>::Config)),+
        }

        impl std::ops::Deref for $Config {
            type Target = dyn $Sizes;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$Model(config) => config),+ }
            }
        }

        impl std::ops::DerefMut for $Config {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self { $(Self::$Model(config) => config),+ }
            }
        }

        $(#[$of_all])*
        #[derive(burn::module::Module, Debug)]
        #[allow(clippy::large_enum_variant, reason = "there is one of a model")]
        #[expect(missing_docs, reason = "each is documented in its file")]
        pub enum $All {
            $($Model($Model)),+
        }

        enums! { @types [$($Model),+] as $Trait; $($(#[$of_type])* $vis $Enum: $Type;)* }
    };
    (@types $models:tt as $Trait:ident;) => {};
    (
        @types [$($Model:ident),+] as $Trait:ident;
        $(#[$of_type:meta])* $vis:vis $Enum:ident: $Type:ident; $($rest:tt)*
    ) => {
        $(#[$of_type])*
        #[allow(clippy::large_enum_variant, missing_docs, reason = "one a model, and documented there")]
        $vis enum $Enum {
            $($Model(<$Model as $Trait>::$Type)),+
        }

        enums! { @types [$($Model),+] as $Trait; $($rest)* }
    };
}
pub(super) use enums;
